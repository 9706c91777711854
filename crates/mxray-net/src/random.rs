//! Random text, for what has to be fresh: nonces, identifiers of messages.

use ring::rand::{SecureRandom, SystemRandom};

/// 36 hexadecimal digits. `None`: the system gives no random bytes.
pub fn token() -> Option<String> {
    let mut random = [0; 18];
    SystemRandom::new().fill(&mut random).ok()?;
    Some(random.iter().map(|byte| format!("{byte:02x}")).collect())
}
