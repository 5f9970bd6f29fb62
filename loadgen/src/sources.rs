//! Source addresses and ports. A connection is the 4-tuple, so what one agent can open to one server address is source
//! addresses × ports; each pair is a slot, handed out once and given back when its client has failed.
//!
//! Letting `connect` search a port gets slow once a source address has used half of its range, so every client binds a
//! slot of its own. Worker threads share one [`SourceSpace`]: one atomic step per connect, and a lock only once the walk
//! has come to its end.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use c2m_host::ports;

/// Number of a source address and port within a [`SourceSpace`].
pub type Slot = u32;

/// Clients per spare slot in addresses that the agent picks itself, so that a few busy ports don't fail a client.
const CLIENTS_PER_SPARE: u64 = 50;

/// Ports that stay free on addresses that the agent picks itself. The kernel picks none that is bound explicitly, on whatever
/// address, so that without these nothing else on the machine could connect to anything.
const PORTS_FOR_OTHERS: u16 = 512;

/// A range without the ports that are for others; as it is when it is small.
pub fn left_for_others((first, last): (u16, u16)) -> (u16, u16) {
    let is_large = last.saturating_sub(first) / 16 >= PORTS_FOR_OTHERS;
    (first, if is_large { last - PORTS_FOR_OTHERS } else { last })
}

/// Why there are no sources.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Not an IP address, or of another family than the server's.
    #[error("source address {address:?} is not an IP address of the server's family")]
    Address {
        /// As given.
        address: String,
    },
    /// First port above the last, or port 0.
    #[error("source ports {first}-{last} are not a range of ports")]
    Ports {
        /// First port given.
        first: u16,
        /// Last port given.
        last: u16,
    },
    /// The kernel knows no way to the server.
    #[error("no route to {server}: {error}")]
    Route {
        /// Server address.
        server: SocketAddr,
        /// From the kernel.
        error: std::io::Error,
    },
}

/// Every source address and port an agent may use, and which of them are handed out.
#[derive(Debug)]
pub struct SourceSpace {
    addresses: Vec<IpAddr>,
    ports: Vec<u16>,
    server: SocketAddr,
    walked: AtomicU64,
    /// Slots whose clients failed, oldest first.
    returned: Mutex<VecDeque<Slot>>,
}

impl SourceSpace {
    /// A space of every pair of `addresses` and `ports`.
    pub fn new(addresses: Vec<IpAddr>, ports: Vec<u16>, server: SocketAddr) -> Self {
        Self { addresses, ports, server, walked: AtomicU64::new(0), returned: Mutex::default() }
    }

    /// Chooses sources for `clients` connections to `server`: the addresses `given`; else, for a server on 127.0.0.0/8,
    /// as many addresses of that network as are needed; else the one that the kernel routes from. Ports are `range`
    /// without those that are `reserved`.
    pub fn choose(
        clients: u64,
        server: SocketAddr,
        given: &[String],
        range: (u16, u16),
        reserved: &[(u16, u16)],
    ) -> Result<Self, SourceError> {
        let (first, last) = range;
        if first == 0 || first > last {
            return Err(SourceError::Ports { first, last });
        }
        let is_reserved = |port: u16| reserved.iter().any(|&(low, high)| (low..=high).contains(&port));
        let ports: Vec<u16> = (first..=last).filter(|&port| !is_reserved(port)).collect();
        let addresses = if given.is_empty() {
            match server.ip() {
                IpAddr::V4(ip) if ip.is_loopback() => {
                    let wanted = clients + clients.div_ceil(CLIENTS_PER_SPARE);
                    let needed = ports::sources_needed(wanted, ports.len() as u32, 1);
                    loopback_addresses().take(needed as usize).map(IpAddr::V4).collect()
                }
                _ => vec![routed_from(server).map_err(|error| SourceError::Route { server, error })?],
            }
        } else {
            given.iter().map(|address| parse(address, server)).collect::<Result<_, _>>()?
        };
        Ok(Self::new(addresses, ports, server))
    }

    /// Source addresses in use.
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// Ports of each address.
    pub fn ports_per_address(&self) -> u32 {
        self.ports.len() as u32
    }

    /// First and last port.
    pub fn port_range(&self) -> (u16, u16) {
        (self.ports.first().copied().unwrap_or(0), self.ports.last().copied().unwrap_or(0))
    }

    /// Connections that can be open at once: addresses × ports.
    pub fn capacity(&self) -> u64 {
        ports::capacity(self.addresses.len() as u64, self.ports_per_address(), 1)
    }

    /// The sentence about too little capacity for `clients`, or none.
    pub fn shortage(&self, clients: u64) -> Option<String> {
        let (capacity, ports) = (self.capacity(), self.ports_per_address());
        let short = clients.checked_sub(capacity).filter(|&short| short > 0)?;
        let needed = match ports::sources_needed(clients, ports, 1) {
            u64::MAX => "more ports".to_owned(),
            needed => format!("{needed} source addresses"),
        };
        Some(format!(
            "capacity is {capacity} = {ports} ports x {} source address(es) x 1 server endpoint; the plan of {clients} \
             clients is short by {short} and needs {needed} (--source, --source-ports)",
            self.addresses.len()
        ))
    }

    /// A slot that no other client holds; none when all are taken. It never is the server's own address, from which a
    /// client would connect to itself.
    pub fn take(&self) -> Option<(Slot, SocketAddr)> {
        let capacity = self.capacity().min(u64::from(Slot::MAX));
        loop {
            // The load keeps the counter from running on for ever once the walk is over.
            if self.walked.load(Ordering::Relaxed) < capacity {
                let walked = self.walked.fetch_add(1, Ordering::Relaxed);
                if walked < capacity {
                    let slot = walked as Slot;
                    let address = self.address(slot);
                    if address != self.server {
                        return Some((slot, address));
                    }
                    continue;
                }
            }
            let slot = self.returned().pop_front()?;
            return Some((slot, self.address(slot)));
        }
    }

    /// Takes back the slot of a client that has gone.
    pub fn give_back(&self, slot: Slot) {
        self.returned().push_back(slot);
    }

    fn returned(&self) -> std::sync::MutexGuard<'_, VecDeque<Slot>> {
        self.returned.lock().expect("no thread panics with this lock")
    }

    /// The walk goes through all ports of an address before it comes to the next.
    fn address(&self, slot: Slot) -> SocketAddr {
        let (slot, ports) = (slot as usize, self.ports.len());
        SocketAddr::new(self.addresses[slot / ports], self.ports[slot % ports])
    }
}

fn parse(address: &str, server: SocketAddr) -> Result<IpAddr, SourceError> {
    let parsed = address.parse::<IpAddr>().ok().filter(|ip| ip.is_ipv4() == server.is_ipv4());
    parsed.ok_or_else(|| SourceError::Address { address: address.to_owned() })
}

/// 127.0.1.1, 127.0.1.2, … without the last bytes 0 and 255; the first network is left to servers.
pub fn loopback_addresses() -> impl Iterator<Item = Ipv4Addr> {
    let networks = (0..=u8::MAX).flat_map(|second| (0..=u8::MAX).map(move |third| (second, third)));
    networks
        .filter(|&network| network != (0, 0))
        .flat_map(|(second, third)| (1..u8::MAX).map(move |fourth| Ipv4Addr::new(127, second, third, fourth)))
}

/// The address the kernel would send from. Connecting a datagram socket looks the route up and sends nothing.
fn routed_from(server: SocketAddr) -> std::io::Result<IpAddr> {
    let any = match server {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(server)?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn server(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn loopback_addresses_leave_the_servers_network_alone_and_never_repeat() {
        let first: Vec<Ipv4Addr> = loopback_addresses().take(255).collect();
        assert_eq!(first[0], Ipv4Addr::new(127, 0, 1, 1));
        assert_eq!(first[253], Ipv4Addr::new(127, 0, 1, 254));
        assert_eq!(first[254], Ipv4Addr::new(127, 0, 2, 1));
        let many: Vec<Ipv4Addr> = loopback_addresses().take(70_000).collect();
        assert_eq!(many.iter().collect::<HashSet<_>>().len(), 70_000);
        assert!(many.contains(&Ipv4Addr::new(127, 1, 0, 1)));
    }

    #[test]
    fn a_loopback_server_gets_as_many_sources_as_the_clients_need() {
        let choose = |clients| {
            SourceSpace::choose(clients, server("127.0.0.1:4000"), &[], (32768, 60999), &[]).unwrap().addresses().len()
        };
        assert_eq!(choose(100), 1);
        assert_eq!(choose(28_232), 2, "one address and no spare port is too tight");
        assert_eq!(choose(2_500_000), 91);
    }

    /// C01: 64 ports, one source, 100 clients.
    #[test]
    fn a_shortage_is_told_with_its_size_and_the_remedy() {
        let one = ["10.77.0.1".to_owned()];
        let space = SourceSpace::choose(100, server("10.77.0.3:4000"), &one, (40000, 40063), &[]).unwrap();
        let text = space.shortage(100).unwrap();
        for part in ["capacity is 64", "64 ports x 1 source address", "short by 36", "needs 2 source addresses"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let two = ["10.77.0.1".to_owned(), "10.77.0.2".to_owned()];
        let space = SourceSpace::choose(100, server("10.77.0.3:4000"), &two, (40000, 40063), &[]).unwrap();
        assert_eq!((space.capacity(), space.shortage(100)), (128, None));
    }

    #[test]
    fn every_slot_is_handed_out_once_and_again_only_when_given_back() {
        let given = ["127.0.0.1".to_owned(), "127.0.0.2".to_owned()];
        let space = SourceSpace::choose(1, server("127.0.0.1:101"), &given, (100, 104), &[(103, 103)]).unwrap();
        let mut taken = HashSet::new();
        while let Some((_, address)) = space.take() {
            assert!(taken.insert(address));
        }
        assert_eq!(taken.len(), 7, "four ports on two addresses, without the server's own");
        assert!(!taken.contains(&server("127.0.0.1:101")));
        assert!(taken.iter().all(|address| address.port() != 103), "reserved");
        space.give_back(2);
        assert_eq!(space.take(), Some((2, server("127.0.0.1:102"))));
        assert_eq!(space.take(), None);
    }

    #[test]
    fn threads_never_get_the_same_slot() {
        let addresses = loopback_addresses().take(3).map(IpAddr::V4).collect();
        let space = SourceSpace::new(addresses, (1000..2000).collect(), server("127.0.0.1:1"));
        let take_all = || std::iter::from_fn(|| space.take()).map(|(slot, _)| slot).collect::<Vec<_>>();
        let all: Vec<Slot> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take_all)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(all.len(), 3000);
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), 3000);
    }

    #[test]
    fn bad_sources_are_refused() {
        let choose =
            |given: &str, range| SourceSpace::choose(1, server("127.0.0.1:1"), &[given.to_owned()], range, &[]);
        assert!(matches!(choose("::1", (1, 2)), Err(SourceError::Address { .. })));
        assert!(matches!(choose("localhost", (1, 2)), Err(SourceError::Address { .. })));
        assert!(matches!(choose("127.0.0.1", (3, 2)), Err(SourceError::Ports { first: 3, last: 2 })));
        assert!(matches!(choose("127.0.0.1", (0, 2)), Err(SourceError::Ports { .. })));
    }
}
