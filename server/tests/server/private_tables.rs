//! Nodes whose shards have descriptor tables of their own.

use c2m_schema::control::FileTables;
use c2m_server::Config;

use crate::backplane::{all_hear, new_msg, pubsub, said};
use crate::common::{Client, TestServer, config};
use crate::nats::Nats;

/// Descriptors of the runtime are clients in a shard's own table: nobody but their members may be written to.
#[test]
fn shards_with_private_tables_publish_without_touching_other_clients() {
    const CLIENTS: usize = 40;
    let Some(nats) = Nats::start() else { return };
    let private = || Config {
        pubsub: Some(nats.url.parse().expect("a URL")),
        file_tables: Some(FileTables::Private),
        ..config()
    };
    let nodes = [TestServer::start(private()), TestServer::start(private())];
    all_hear(&nodes);
    let mut here: Vec<_> = (0..CLIENTS).map(|_| Client::joined(nodes[0].address())).collect();
    let mut there = Client::joined(nodes[1].address());
    for sender in 0..CLIENTS {
        here[sender].send(new_msg(sender as u32));
        for (i, member) in here.iter_mut().enumerate() {
            member.expect(&[&said(sender as u32)]);
            if i == sender {
                assert!(member.text().contains("phx_reply"));
            }
            member.expect_nothing();
        }
        there.expect(&[&said(sender as u32)]);
    }
    assert_eq!((pubsub(&nodes[0]).published, pubsub(&nodes[0]).unsent), (CLIENTS as u64, 0));
}
