//! The server's side of TLS, and what a bad server does instead. The certificate is made at each start.

use crate::reset;
use mxray_wire::scenario::TlsFault;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

/// A self-signed certificate for 127.0.0.1.
pub fn config() -> io::Result<Arc<ServerConfig>> {
    let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key))
        .map_err(io::Error::other)?;
    Ok(Arc::new(config))
}

/// A handshake as it should be.
pub fn accept(stream: &TcpStream, config: &Arc<ServerConfig>) -> io::Result<StreamOwned<ServerConnection, TcpStream>> {
    let mut connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
    let mut socket = stream.try_clone()?;
    connection.complete_io(&mut socket)?;
    Ok(StreamOwned::new(connection, socket))
}

/// The ClientHello is read, and answered with a fatal handshake_failure (RFC 8446 section 6).
pub fn refuse(stream: &mut &TcpStream) -> io::Result<()> {
    hello(stream)?;
    stream.write_all(&[21, 3, 3, 0, 2, 2, 40])
}

/// Something else than a handshake.
pub fn sin(mut stream: &TcpStream, fault: TlsFault) -> io::Result<()> {
    hello(&mut stream)?;
    match fault {
        TlsFault::Garbage => {
            // A ServerHello's record header, and nothing behind it that makes sense.
            stream.write_all(&[22, 3, 3, 0, 64, 2, 0, 255, 255])?;
            stream.write_all(&[0xa5; 64])?;
        }
        TlsFault::Hangs => while stream.read(&mut [0; 4096])? > 0 {},
        TlsFault::Closes => {}
        TlsFault::Resets => reset(stream)?,
    }
    Ok(())
}

/// Reads one record.
fn hello(stream: &mut &TcpStream) -> io::Result<()> {
    let mut head = [0; 5];
    stream.read_exact(&mut head)?;
    let length = usize::from(u16::from_be_bytes([head[3], head[4]]));
    stream.read_exact(&mut vec![0; length])
}
