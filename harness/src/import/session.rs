//! A session: connect, join, stay, and perhaps heartbeats on the way. Pure.

use serde_json::Value;

use super::beats::Span;
use super::xml::{Element, plain};
use super::{Notes, Refused};

/// Loops in loops that are followed.
const DEPTH_MAX: u32 = 16;
/// The path at which a Phoenix server takes WebSocket connections.
const PATH: &str = "/socket/websocket";
/// Phoenix counts the beats of a connection as messages to this topic.
const HEARTBEAT: (&str, &str) = ("phoenix", "heartbeat");
const JOIN: &str = "phx_join";
/// Two times that are the same but for rounding.
const SAME: f64 = 1e-9;

/// What every client does.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Session {
    pub(super) topic: String,
    pub(super) serializer: &'static str,
    /// 0: none.
    pub(super) heartbeat_s: f64,
    /// From the join to the end.
    pub(super) hold_s: f64,
}

/// The one session that is to be followed.
pub(super) fn chosen(element: Element, notes: &mut Notes) -> Result<Session, Refused> {
    let mut chosen: Option<Element> = None;
    for session in element.with(&[])?.children()? {
        if session.name() != "session" {
            return Err(session.unknown());
        }
        let session = session.with(&["name", "type", "probability", "weight", "bidi", "persistent"])?;
        let name = plain(session.attribute("name").unwrap_or_default());
        let share = match (session.number("probability")?, session.number("weight")?) {
            (Some(_), Some(_)) => {
                let what = "probability and weight exclude each other";
                return Err(session.refuse_attribute("weight", what, "leave one of them out"));
            }
            (share, None) | (None, share) => share.unwrap_or(100.0),
        };
        if share <= 0.0 {
            notes.add(session, format!("{name} has no users and is left out"));
        } else if chosen.is_some() {
            let what = format!("{name} is a second session that users run");
            return Err(session.refuse(what, "make a scenario of each, with its share of the users"));
        } else {
            chosen = Some(session);
        }
    }
    let session = chosen.ok_or_else(|| element.refuse("no session has users", "write one"))?;
    if session.required("type")? != "ts_websocket" {
        return Err(session.refuse_value("type", "\"ts_websocket\": clients of c2m speak nothing else"));
    }
    session.flag("bidi")?;
    session.flag("persistent")?;
    follow(session, notes)
}

fn follow(session: Element, notes: &mut Notes) -> Result<Session, Refused> {
    let mut walk = Walk { notes, stage: Stage::Fresh, serializer: "1.0.0", topic: String::new(), beat: None };
    let mut held = Span::default();
    for step in session.children()? {
        let was_joined = walk.stage == Stage::Joined;
        let span = walk.step(step, 0)?;
        if was_joined {
            held = held.then(span);
        } else if span.seconds > 0.0 {
            walk.notes.add(step, "time before the join: clients join as soon as they are connected");
        }
    }
    if matches!(walk.stage, Stage::Fresh | Stage::Connected) {
        let remedy = format!("let it connect and send {JOIN}");
        return Err(session.refuse("this session joins no channel, and clients of c2m do", remedy));
    }
    let heartbeat_s = heartbeat(held, walk.beat, walk.notes)?;
    let (topic, serializer) = (walk.topic, walk.serializer);
    Ok(Session { topic, serializer, heartbeat_s, hold_s: held.seconds })
}

/// Seconds between heartbeats: one time for all.
fn heartbeat(held: Span, sender: Option<Element>, notes: &mut Notes) -> Result<f64, Refused> {
    let (Some(beats), Some(sender)) = (held.beats, sender) else { return Ok(0.0) };
    let Some((shortest, longest)) = beats.between_s else {
        return Err(
            sender.refuse("this heartbeat is sent once", "put it into a <for> with a <thinktime>, or take it out")
        );
    };
    if shortest <= 0.0 || longest - shortest > longest * SAME {
        let what = format!("heartbeats come {shortest} s to {longest} s after each other");
        return Err(sender.refuse(what, "send them at one interval of more than 0 s"));
    }
    if beats.rest_s > longest * (1.0 + SAME) {
        let what = format!("the last heartbeat comes {} s before the end", beats.rest_s);
        return Err(sender.refuse(what, "send them until the end: those of c2m don't stop while clients are held"));
    }
    if (beats.first_s - longest).abs() > longest * SAME {
        let first_s = beats.first_s;
        notes.add(
            sender,
            format!("the first heartbeat, {first_s} s after the join: here after {longest} s, as the others"),
        );
    }
    Ok(longest)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Fresh,
    Connected,
    Joined,
    Closed,
}

struct Walk<'a, 'n> {
    notes: &'n mut Notes,
    stage: Stage,
    serializer: &'static str,
    topic: String,
    /// A message that is a heartbeat.
    beat: Option<Element<'a>>,
}

impl<'a> Walk<'a, '_> {
    fn step(&mut self, step: Element<'a>, depth: u32) -> Result<Span, Refused> {
        if self.stage == Stage::Closed {
            return Err(step.refuse("something is done after the connection is closed", "let the close be the last"));
        }
        match step.name() {
            "thinktime" => self.think(step),
            "for" => self.repeat(step, depth + 1),
            "request" => {
                let request = step.with(&["subst"])?;
                let children = request.children()?;
                let other = children.iter().find(|child| child.name() != "websocket");
                match (other, &children[..]) {
                    (Some(other), _) => {
                        let what = "this element has no counterpart";
                        Err(other.refuse(what, "take it out; every join is checked by its reply"))
                    }
                    (None, [websocket]) => self.websocket(*websocket, depth),
                    (None, _) => Err(request.refuse("a request has one <websocket>", "write it once")),
                }
            }
            "transaction" => {
                Err(step.refuse("this element has no counterpart", "take the tags out and leave what is inside"))
            }
            _ => Err(step.unknown()),
        }
    }

    fn repeat(&mut self, step: Element<'a>, depth: u32) -> Result<Span, Refused> {
        let step = step.with(&["var", "from", "to", "incr"])?;
        if depth > DEPTH_MAX {
            return Err(step.refuse(format!("more than {DEPTH_MAX} loops in each other"), "write it with fewer"));
        }
        let end = |name| {
            step.required(name)?;
            step.whole::<i64>(name).map(|n| i128::from(n.unwrap_or_default()))
        };
        let (from, to, by) = (end("from")?, end("to")?, i128::from(step.whole::<i64>("incr")?.unwrap_or(1)));
        if by <= 0 {
            return Err(step.refuse_value("incr", "1 or more"));
        }
        // Its end is looked at after each round, so there is one at least.
        let times = u64::try_from((to - from + by - 1) / by).unwrap_or(0).saturating_add(1);
        let mut round = Span::default();
        for inner in step.children()? {
            round = round.then(self.step(inner, depth)?);
        }
        Ok(round.repeated(times))
    }

    fn think(&mut self, step: Element) -> Result<Span, Refused> {
        let step = step.with(&["value", "random", "min", "max"])?;
        step.childless()?;
        let seconds = match (step.attribute("value"), step.attribute("min"), step.attribute("max")) {
            (Some(_), None, None) => step.number("value")?.filter(|&seconds| seconds > 0.0),
            (None, Some(_), Some(_)) => {
                let (low, high) = (step.whole::<u32>("min")?, step.whole::<u32>("max")?);
                let mean = low.zip(high).filter(|(low, high)| *low > 0 && low < high);
                if let Some((low, high)) = mean {
                    self.notes.add(step, format!("{low} s to {high} s at random: here the mean, for every client"));
                }
                mean.map(|(low, high)| f64::midpoint(f64::from(low), f64::from(high)))
            }
            _ => None,
        };
        let remedy = "write value, more than 0 s, or min and max, min below max";
        let seconds = seconds.ok_or_else(|| step.refuse("this says no time to wait", remedy))?;
        if step.flag("random")?.unwrap_or(false) && step.attribute("value").is_some() {
            self.notes.add(step, format!("{seconds} s at random: here the mean, for every client"));
        }
        Ok(Span::think(seconds))
    }

    fn websocket(&mut self, step: Element<'a>, depth: u32) -> Result<Span, Refused> {
        let kind = step.required("type")?;
        let known: &[&str] = match kind {
            "connect" => &["type", "path", "origin"],
            "message" => &["type", "ack", "frame"],
            "close" => &["type"],
            _ => return Err(step.refuse_value("type", "\"connect\", \"message\" or \"close\"")),
        };
        let step = step.with(known)?;
        if kind == "message" {
            return self.message(step, depth);
        }
        if !step.text()?.trim().is_empty() {
            return Err(step.refuse("text where none belongs", "take it out"));
        }
        if depth > 0 {
            return Err(step.refuse(format!("a {kind} inside a loop"), "move it out: clients connect and leave once"));
        }
        match (kind, self.stage) {
            ("connect", Stage::Fresh) => self.connect(step)?,
            ("connect", _) => return Err(step.refuse("a second connection", "take it out: a client has one")),
            (_, Stage::Joined) => self.stage = Stage::Closed,
            _ => return Err(step.refuse("closed before a channel is joined", format!("send {JOIN} first"))),
        }
        Ok(Span::default())
    }

    fn connect(&mut self, step: Element) -> Result<(), Refused> {
        let path = step.attribute("path").unwrap_or("/");
        let (place, query) = path.split_once('?').unwrap_or((path, ""));
        if place != PATH {
            let remedy = format!("{PATH}; for a server that has another, edit the experiment: [server] url");
            return Err(step.refuse_value("path", &remedy));
        }
        for part in query.split('&').filter(|part| !part.is_empty()) {
            match part.split_once('=').unwrap_or((part, "")) {
                ("vsn", "1.0.0") => self.serializer = "1.0.0",
                ("vsn", "2.0.0") => self.serializer = "2.0.0",
                ("vsn", _) => return Err(step.refuse_value("path", "vsn=1.0.0 or vsn=2.0.0")),
                (name, _) => self.notes.add(step, format!("path: parameter {} is not sent", plain(name))),
            }
        }
        if step.attribute("origin").is_some_and(|origin| !origin.is_empty()) {
            self.notes.add(step, "origin: clients send no such header");
        }
        self.stage = Stage::Connected;
        Ok(())
    }

    fn message(&mut self, step: Element<'a>, depth: u32) -> Result<Span, Refused> {
        if !matches!(step.attribute("ack"), None | Some("parse" | "no_ack")) {
            return Err(step.refuse_value("ack", "\"parse\" or \"no_ack\""));
        }
        if !matches!(step.attribute("frame"), None | Some("text" | "binary")) {
            return Err(step.refuse_value("frame", "\"text\" or \"binary\""));
        }
        let message = Message::read(step, self.serializer)?;
        if (message.topic.as_str(), message.event.as_str()) == HEARTBEAT {
            if self.stage != Stage::Joined {
                return Err(step.refuse("a heartbeat before the join", "move it behind the join"));
            }
            self.beat.get_or_insert(step);
            return Ok(Span::beat());
        }
        if message.event != JOIN {
            let what = format!("event {} has no counterpart", plain(&message.event));
            let remedy = "take it out; what is sent to all while clients are held is said by [broadcast]";
            return Err(step.refuse(what, remedy));
        }
        if depth > 0 || self.stage == Stage::Joined {
            return Err(step.refuse("joined more than once", "let it join one channel, once and outside of loops"));
        }
        if self.stage != Stage::Connected {
            return Err(step.refuse("joined before it is connected", "connect first"));
        }
        if message.topic.is_empty() || message.topic.contains("%%") {
            let what = format!("topic \"{}\" is not one room for all", plain(&message.topic));
            return Err(step.refuse(what, "name one topic; many rooms are said by clients.rooms in the experiment"));
        }
        if !message.params.is_empty() {
            let params: Vec<String> = message.params.iter().map(|name| plain(name)).collect();
            self.notes.add(step, format!("join with {}: clients join with an empty payload", params.join(", ")));
        }
        self.topic = message.topic;
        self.stage = Stage::Joined;
        Ok(Span::default())
    }
}

/// A message of a Phoenix client.
struct Message {
    topic: String,
    event: String,
    /// Names of what the payload has.
    params: Vec<String>,
}

impl Message {
    fn read(step: Element, serializer: &str) -> Result<Self, Refused> {
        let text = step.text()?;
        let remedy = match serializer {
            "2.0.0" => r#"with vsn=2.0.0 write ["1","1","topic","phx_join",{}]"#,
            _ => r#"write {"topic":…,"event":…,"payload":{},"ref":"1"}, or connect with vsn=2.0.0 for the other form"#,
        };
        let wrong = || step.refuse("this is no message of a Phoenix channel", remedy);
        // What Tsung fills in may stand where only a number could.
        let value: Value = serde_json::from_str(&text)
            .or_else(|error| without_variables(&text).map_or(Err(error), |text| serde_json::from_str(&text)))
            .map_err(|_| wrong())?;
        let (topic, event, payload) = match (&value, serializer) {
            (Value::Array(parts), "2.0.0") if parts.len() == 5 => (parts.get(2), parts.get(3), parts.get(4)),
            (Value::Object(parts), "1.0.0") => (parts.get("topic"), parts.get("event"), parts.get("payload")),
            _ => return Err(wrong()),
        };
        let word = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned).ok_or_else(wrong);
        let params = match payload {
            Some(Value::Object(params)) => params.keys().cloned().collect(),
            Some(_) => vec!["a payload that is no object".to_owned()],
            None => Vec::new(),
        };
        Ok(Self { topic: word(topic)?, event: word(event)?, params })
    }
}

/// Each `%%variable%%` as a number; none where there is none.
fn without_variables(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split("%%").collect();
    let is_paired = parts.len() >= 3 && parts.len() % 2 == 1;
    is_paired.then(|| parts.into_iter().step_by(2).collect::<Vec<_>>().join("0"))
}
