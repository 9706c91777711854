//! What is asked for: a service with the sockets that it would open, and what it may do. Pure.

use mxray_host::security::Profile;
use mxray_host::units::network::{AddressRules, BindRules, Line};
use mxray_model::binding::Binding;
use mxray_model::evidence::{Exposure, FileLine, V6Policy};
use mxray_model::{Blind, Seen};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A service that wants to listen.
#[derive(Debug, Clone)]
pub struct Wish {
    pub service: String,
    /// `tcp` or `udp`
    pub protocol: String,
    pub port: u16,
    /// As typed; empty: all addresses.
    pub addresses: Vec<IpAddr>,
    pub v6: V6Policy,
    pub reuse_port: bool,
    pub starter: Starter,
    pub exposure: Exposure,
}

/// Who would open the sockets.
#[derive(Debug, Clone)]
pub struct Starter {
    pub uid: u32,
    pub user: String,
    /// Nobody said who starts it: as root, which mail servers do.
    pub assumed: bool,
    /// The unit that was named, in full.
    pub unit: Option<String>,
    /// May it bind a port below the first unprivileged one?
    pub low_ports: LowPorts,
    /// What its unit does to its sockets.
    pub confined: Vec<Confinement>,
}

/// CAP_NET_BIND_SERVICE, and from where it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LowPorts {
    May { because: String },
    MayNot { because: String, at: Option<FileLine> },
    Unknown { why: String, needs: String },
}

/// What beside the kernel's own rules decides about its sockets: lines of its unit, and security modules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confinement {
    /// Its unit could not be read.
    Unread(Blind),
    /// PrivateNetwork=yes, or a namespace of its own by path.
    OwnNetwork(Line),
    /// RestrictAddressFamilies= without the family.
    NoFamily { ipv6: bool, line: Line },
    /// SocketBindDeny=, SocketBindAllow=
    Bind(BindRules),
    /// IPAddressDeny=, IPAddressAllow=
    Addresses(AddressRules),
    /// SELinux enforces a policy that knows ports.
    SeLinux(Seen<()>),
    /// A profile of AppArmor is enforced.
    AppArmor(Seen<Profile>),
}

impl Wish {
    /// The sockets that it opens. `has_ipv6`: the kernel has IPv6; `bind_v6_only`: net.ipv6.bindv6only.
    ///
    /// Where nothing is said, mail servers open one socket for each family, and the IPv6 one refuses IPv4 (Postfix, Dovecot,
    /// OpenSMTPD).
    pub fn sockets(&self, has_ipv6: bool, bind_v6_only: bool) -> Vec<Binding> {
        let four = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let six = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        let made = |address: IpAddr, v6_only: bool| Binding {
            v6_only,
            reuse_port: self.reuse_port,
            uid: self.starter.uid,
            ..Binding::new(&self.protocol, address, self.port)
        };
        if self.addresses.is_empty() {
            return match self.v6 {
                V6Policy::None => vec![made(four, false)],
                V6Policy::Dual => vec![made(six, false)],
                V6Policy::Any if !has_ipv6 => vec![made(four, false)],
                V6Policy::Separate | V6Policy::Any => vec![made(four, false), made(six, true)],
            };
        }
        let has_four = self.addresses.contains(&four);
        let only_six = |address: &IpAddr| match (address, self.v6) {
            (IpAddr::V4(_), _) => false,
            (IpAddr::V6(v6), _) if v6.to_ipv4_mapped().is_some() => false,
            (IpAddr::V6(v6), V6Policy::Dual) => !v6.is_unspecified(),
            (IpAddr::V6(_), V6Policy::Separate | V6Policy::None) => true,
            (IpAddr::V6(v6), V6Policy::Any) => !v6.is_unspecified() || has_four || bind_v6_only,
        };
        self.addresses.iter().map(|address| made(*address, only_six(address))).collect()
    }

    /// The same wish for another port.
    pub fn on(&self, port: u16) -> Wish {
        Wish { port, ..self.clone() }
    }

    /// Is it the one that is asked about? A service may be named by its unit, its software or its own name.
    pub fn is(&self, unit: Option<&str>, names: &[&str]) -> bool {
        let same_unit = |own: &String| unit.is_some_and(|unit| same_unit(own, unit));
        self.starter.unit.as_ref().is_some_and(same_unit)
            || names.iter().any(|name| !name.is_empty() && self.service.eq_ignore_ascii_case(stem(name)))
            || unit.is_some_and(|unit| same_unit_name(&self.service, unit))
    }
}

/// `postfix.service` starts `postfix@-.service` (Debian, and every multi-instance manager): one software.
pub fn same_unit(own: &str, other: &str) -> bool {
    own == other || same_unit_name(stem(own), other)
}

fn same_unit_name(name: &str, unit: &str) -> bool {
    let unit = stem(unit);
    unit.eq_ignore_ascii_case(name) || unit.split_once('@').is_some_and(|(head, _)| head.eq_ignore_ascii_case(name))
}

/// Without `.service` or `.socket`, and without the type of a master.cf service (`smtp/inet`).
pub fn stem(name: &str) -> &str {
    let name = name.strip_suffix(".service").or_else(|| name.strip_suffix(".socket")).unwrap_or(name);
    name.strip_suffix("/inet").unwrap_or(name)
}
