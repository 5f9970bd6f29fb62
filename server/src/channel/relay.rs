//! Rooms `realtime:*`: whatever a member pushes goes to the others as it came. What clients of relays expect, Supabase's
//! realtime-js among them, which sends its messages as event `broadcast`.

use super::{Body, Channel, Context, Join, Outcome, Payload};

/// A room that takes any event.
pub(super) struct RelayRoom;

impl Channel for RelayRoom {
    fn join<'m>(&self, _topic: &'m str, _params: Payload<'m>) -> Join<'m> {
        Join::Accepted(Body::EMPTY)
    }

    fn handle_in<'m>(&self, context: &mut Context<'m>, event: &'m str, payload: Payload<'m>) -> Outcome<'m> {
        context.broadcast_from(event, payload.into());
        Outcome::ok(Body::EMPTY)
    }
}
