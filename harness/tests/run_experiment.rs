//! Definitions: what is refused and how it is said, overrides, and that the definition as run runs again.

use c2m::experiment::load::parse;
use c2m::experiment::{Counts, Experiment};
use c2m::plan::{Room, auto_counts, planned, points, resolve};
use c2m_schema::control::Engine;
use c2m_schema::rooms::Sizes;

const MINIMAL: &str = "question = \"how?\"\n[clients]\ncounts = [10, 20]\n";

fn read(text: &str, overrides: &[&str]) -> Result<Experiment, String> {
    let overrides: Vec<String> = overrides.iter().map(|o| (*o).to_owned()).collect();
    parse("dir/exp.toml", "exp", text, &overrides).map_err(|e| e.to_string())
}

fn assert_refused(text: &str, overrides: &[&str], parts: &[&str]) {
    let message = read(text, overrides).expect_err("is refused");
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

#[test]
fn an_unknown_key_is_named_with_file_line_and_the_likely_one() {
    let text = format!("{MINIMAL}[arrival]\nrate_per_sec = 5\n");
    assert_refused(&text, &[], &["dir/exp.toml", "line 5", "arrival.rate_per_sec", "did you mean `rate_per_s`"]);
    assert_refused(
        &format!("{MINIMAL}[brodcast]\ncount = 1\n"),
        &[],
        &["line 4", "brodcast", "did you mean `broadcast`"],
    );
    let phases = format!("{MINIMAL}[arrival]\nphases = [{{ second = 1, rate_per_s = 5 }}]\n");
    assert_refused(&phases, &[], &["line 5", "second", "did you mean `seconds`"]);
    assert_refused(&format!("isolate = \"netn\"\n{MINIMAL}"), &[], &["line 1", "isolate", "did you mean `netns`"]);
    assert_refused("question = \"x\"\n[clients]\n", &[], &["missing key `counts`"]);
    assert_refused("question = \n", &[], &["dir/exp.toml, line 1"]);
}

#[test]
fn a_value_out_of_range_is_named_with_its_line_and_a_remedy() {
    let with = |table: &str| format!("{MINIMAL}{table}\n");
    assert_refused(&with("[measure]\nrepetitions = 0"), &[], &["line 5", "measure.repetitions", "from 1 to"]);
    assert_refused(
        &with("[broadcast]\npayload_bytes = [64, 10]"),
        &[],
        &["line 5", "broadcast.payload_bytes", "from 64"],
    );
    assert_refused(&with("[arrival]\nrate_per_s = 0"), &[], &["arrival.rate_per_s", "from"]);
    assert_refused(&with("[server]\nidle_timeout_s = 20"), &[], &["heartbeat_s", "idle timeout of 20 s", "lower it"]);
    assert_refused("question = \"x\"\n[clients]\ncounts = []\n", &[], &["line 3", "clients.counts", "auto"]);
    assert_refused("question = \"x\"\n[clients]\ncounts = [2]\n", &[], &["observers", "publisher"]);
    assert_refused("question = \"x\"\n[clients]\ncounts = \"all\"\n", &[], &["clients.counts", "\"auto\""]);
    assert_refused(MINIMAL, &["measure.settle_s=-1"], &["--set measure.settle_s=-1", "from 0"]);
}

#[test]
fn a_price_is_checked_written_down_as_run_and_carried_into_the_record() {
    let with = |text: &str| format!("{MINIMAL}\n[host]\n{text}");
    for wrong in ["0", "-5", "nan", "inf", "1e12"] {
        let text = with(&format!("price_per_month_usd = {wrong}"));
        assert_refused(&text, &[], &["host.price_per_month_usd", "out of range", "from 0.01"]);
    }
    assert_refused(&with("price_per_month_eur = 5"), &[], &["did you mean `price_per_month_usd`"]);
    let experiment = read(&with("price_per_month_usd = 79.5"), &["isolate=host"]).unwrap();
    assert!(toml::to_string(&experiment).unwrap().contains("price_per_month_usd = 79.5"));
    let ground = c2m::ground::prepare(experiment, None).unwrap();
    assert_eq!(ground.host.price_per_month_usd, Some(79.5));
    assert!(
        !toml::to_string(&read(MINIMAL, &[]).unwrap()).unwrap().contains("[host]"),
        "left out where it says nothing"
    );
}

#[test]
fn overrides_reach_any_key_and_are_checked_like_the_file() {
    let e = read(
        MINIMAL,
        &[
            "clients.counts=[5]",
            "clients.topic=rooms:other",
            "broadcast.payload_bytes=[64, 128]",
            "expect.joined=\"all\"",
        ],
    )
    .unwrap();
    assert_eq!(e.clients.counts, Counts::List(vec![5]));
    assert_eq!(e.clients.topic, "rooms:other");
    assert_eq!(points(&e).iter().map(|p| p.variant.as_str()).collect::<Vec<_>>(), ["64 B", "128 B"]);
    assert_refused(MINIMAL, &["clients.count=[5]"], &["--set clients.count=[5]", "did you mean `counts`"]);
    assert_refused(MINIMAL, &["clients"], &["key.path=value"]);
    assert_refused(MINIMAL, &["question.text=1"], &["not a table"]);
    // A file may leave to an override what it must say otherwise, and an empty value takes a key back.
    let e = read("question = \"x\"\n[clients]\n", &["clients.counts=7"]).unwrap();
    assert_eq!(e.clients.counts, Counts::List(vec![7]));
    let phases = format!("{MINIMAL}[arrival]\nrate_per_s = 5\n");
    let e = read(&phases, &["arrival.rate_per_s=", "arrival.phases=[{ rate_per_s = 9 }]"]).unwrap();
    assert!((e.arrival.peak_per_s() - 9.0).abs() < f64::EPSILON);
}

#[test]
fn the_definition_as_run_reads_back_equal() {
    let rich = format!(
        "{MINIMAL}[arrival]\nphases = [{{ seconds = 1, rate_per_s = 5 }}, {{ rate_per_s = 2.5 }}]\n[server]\nshards = 3\n\
         file_tables = \"private\"\nidle_timeout_s = 0\n[agents]\ncount = 2\nsources = [\"127.0.0.2\"]\nsource_ports = [1024, 2048]\n\
         [broadcast]\ninterval_ms = \"auto\"\npayload_bytes = [64, 100]\n[expect]\njoined = \"all\"\nmissing = 0\n"
    );
    let search = "question = \"?\"\n[clients]\n[expect]\nmissing = 0\n[search]\nkey = \"clients.counts\"\nlow = 100\n\
                  high = 5_000\n[measure]\nrepeat_upto_clients = 200\n";
    for text in [MINIMAL, rich.as_str(), search] {
        let mut e = read(text, &["measure.repetitions=2"]).unwrap();
        resolve(&mut e, Room { cores: 1, memory_available_bytes: 1 << 30, clients_by_limits: 1000 });
        let written = toml::to_string(&e).unwrap();
        // Whatever the file is called now, the experiment keeps its name.
        let again = parse("other.toml", "other", &written, &[]).unwrap();
        assert_eq!(again, e, "{written}");
        assert_eq!(points(&again), points(&e));
    }
}

#[test]
fn points_are_counts_by_variants_in_the_order_given_and_the_interval_grows_with_the_room() {
    let text = "question = \"x\"\n[clients]\ncounts = [500, 4000, 500]\n[broadcast]\ninterval_ms = \"auto\"\n";
    let e = read(text, &[]).unwrap();
    let plan = points(&e);
    assert_eq!(plan.iter().map(|p| (p.index, p.clients)).collect::<Vec<_>>(), [(0, 500), (1, 4000), (2, 500)]);
    assert_eq!(plan[0].interval_ns, 1_000_000_000);
    assert_eq!(e.broadcast.interval_ms.ns(2_000_000), 30_000_000_000);
}

#[test]
fn rooms_and_slow_shares_make_points_of_each_value_and_are_refused_where_they_make_no_sense() {
    let with = |clients: &str| format!("question = \"x\"\n[clients]\ncounts = [1000]\n{clients}\n");
    let rooms = with("rooms = { count = [1, 20], sizes = [\"equal\", \"zipf\"] }");
    let e = read(&rooms, &[]).unwrap();
    let names: Vec<_> = points(&e).into_iter().map(|p| p.variant).collect();
    assert_eq!(names, ["1 room", "20 rooms equal", "20 rooms zipf"]);
    // The automatic interval follows the largest room.
    let e = read(&rooms, &["clients.counts=[1000000]"]).unwrap();
    let seconds: Vec<_> = points(&e).iter().map(|p| p.interval_ns / 100_000_000).collect();
    assert_eq!(seconds, [150, 10, 41]);
    let e = read(&with("rooms = { count = 20 }"), &[]).unwrap();
    assert_eq!((points(&e)[0].rooms, points(&e)[0].variant.as_str()), (Some((20, Sizes::Equal)), ""));
    let e = read(&with("slow = { share = [0, 0.0001, 0.02] }"), &[]).unwrap();
    let plan = points(&e);
    assert_eq!(plan.iter().map(|p| p.slow_clients).collect::<Vec<_>>(), [Some(0), Some(1), Some(20)]);
    assert_eq!(plan[1].variant, "1 slow");
    for text in [&rooms, &with("slow = { share = 0.5, kind = \"slowly\", bytes_per_s = 100 }")] {
        let e = read(text, &[]).unwrap();
        assert_eq!(parse("x.toml", "exp", &toml::to_string(&e).unwrap(), &[]).unwrap(), e);
    }

    assert_refused(&with("rooms = { count = 0 }"), &[], &["clients.rooms.count", "from 1"]);
    assert_refused(&with("rooms = { count = [] }"), &[], &["clients.rooms", "empty"]);
    assert_refused(
        &with("rooms = { count = 2 }\ntopic = \"rooms:other\""),
        &[],
        &["topic and rooms exclude each other"],
    );
    assert_refused(&with("rooms = { counts = 2 }"), &[], &["did you mean", "count"]);
    assert_refused(&with("rooms = { count = 2, sizes = \"even\" }"), &[], &["clients.rooms"]);
    assert_refused(&with("slow = { share = 1.5 }"), &[], &["clients.slow.share", "from 0"]);
    assert_refused(&with("slow = { share = 1.0 }"), &[], &["leave no publisher"]);
    assert_refused(&with("slow = { share = 0.1, kind = \"slowly\" }"), &[], &["needs bytes_per_s"]);
    assert_refused(&with("slow = { share = 0.1, bytes_per_s = 5 }"), &[], &["who never reads has no speed"]);
    assert_refused(&with("slow = { share = 0.1 }\nrooms = { count = 2 }"), &[], &["rooms and slow exclude"]);
}

#[test]
fn each_engine_makes_points_and_a_described_server_stands_beside_them() {
    let other = "[server.others.mine]\ncommand = \"mine --port 9\"\nready = \"up\"\nurl = \"ws://127.0.0.1:9/s\"\n";
    let with = |engine: &str, rest: &str| {
        format!("question = \"x\"\n[clients]\ncounts = [100, 200]\n[server]\nengine = {engine}\n{rest}")
    };
    let three = with("[\"shards\", \"tokio\", \"mine\"]", other);
    let e = read(&three, &[]).unwrap();
    let plan = planned(&e);
    let names: Vec<_> = plan.iter().map(|(_, p)| (p.clients, p.variant.as_str())).collect();
    let each = ["shards", "tokio", "mine"];
    assert_eq!(names, [100, 200].into_iter().flat_map(|n| each.map(|name| (n, name))).collect::<Vec<_>>());
    let engines: Vec<_> = plan.iter().take(2).map(|(e, _)| e.server.own_engine()).collect();
    assert_eq!(engines, [Engine::Shards, Engine::Tokio]);
    let mine = &plan[2].0.server;
    assert!(mine.is_foreign() && !plan[1].0.server.is_foreign());
    assert_eq!(
        (mine.command.0.as_slice(), mine.authority()),
        (["mine", "--port", "9"].map(str::to_owned).as_slice(), Some("127.0.0.1:9"))
    );
    assert_eq!(parse("x.toml", "exp", &toml::to_string(&e).unwrap(), &[]).unwrap(), e, "as run it reads back");
    // One alone is no variant.
    assert_eq!(planned(&read(&with("\"tokio\"", ""), &[]).unwrap())[0].1.variant, "");
    assert!(planned(&read(&with("\"mine\"", other), &[]).unwrap())[0].0.server.is_foreign());

    assert_refused(&with("[]", ""), &[], &["line 5", "server.engine", "\"tokio\""]);
    assert_refused(&with("[\"tokio\", \"tokio\"]", ""), &[], &["named twice"]);
    assert_refused(&with("[\"shards\", \"nodd\"]", ""), &[], &["`nodd` is no engine", "[server.others.nodd]"]);
    assert_refused(&with("\"shards\"", other), &[], &["line 6", "server.others.mine", "name it in server.engine"]);
    assert_refused(&with("\"tokio\"", "file_tables = \"private\"\n"), &[], &["server.file_tables", "\"shared\""]);
    let wrong = |from: &str, to: &str| with("[\"shards\", \"mine\"]", &other.replace(from, to));
    assert_refused(&wrong("ws://", "http://"), &[], &["line 9", "server.others.mine.url", "ws://host:port/path"]);
    assert_refused(&wrong("mine --port 9", ""), &[], &["server.others.mine.command"]);
    assert_refused(&wrong("ready", "redy"), &[], &["did you mean `ready`"]);
    assert_refused(&three, &["server.url=\"ws://127.0.0.1:1/s\""], &["server.others"]);
    assert_refused(
        &three.replace("mine", "my server").replace("others.my server", "others.\"my server\""),
        &[],
        &["use letters"],
    );
}

#[test]
fn automatic_counts_are_bound_by_cores_memory_and_limits() {
    let room = Room { cores: 2, memory_available_bytes: 24 << 30, clients_by_limits: 10_000_000 };
    assert_eq!(auto_counts(room), [25_000, 50_000, 100_000, 200_000]);
    assert_eq!(auto_counts(Room { cores: 64, ..room }).last(), Some(&400_000));
    // 60 % of 860 MB at 8,600 B a client.
    assert_eq!(auto_counts(Room { memory_available_bytes: 860_000_000, ..room }), [7_500, 15_000, 30_000, 60_000]);
    assert_eq!(auto_counts(Room { clients_by_limits: 19_936, ..room }), [2_400, 4_900, 9_900, 19_000]);
    assert_eq!(auto_counts(Room { clients_by_limits: 0, ..room }), [1]);
}

#[test]
fn the_arrival_schedule_says_how_long_a_ramp_takes() {
    let text = format!("{MINIMAL}[arrival]\nphases = [{{ seconds = 10, rate_per_s = 100 }}, {{ rate_per_s = 500 }}]\n");
    let e = read(&text, &[]).unwrap();
    assert!((e.arrival.seconds_for(500) - 5.0).abs() < 1e-9);
    assert!((e.arrival.seconds_for(2_000) - 12.0).abs() < 1e-9);
}

#[test]
fn larger_points_can_be_left_unrepeated() {
    let text = "question = \"x\"\n[clients]\ncounts = [128_000, 450_000, 1_000_000]\n[measure]\nrepetitions = 3\n\
                repeat_upto_clients = 450_000\n";
    let e = read(text, &[]).unwrap();
    assert_eq!(points(&e).iter().map(|p| e.measure.repetitions_of(p.clients)).collect::<Vec<_>>(), [3, 3, 1]);
    let plan = c2m::plan::list(&e);
    assert!(
        plan.contains("450 000 clients") && plan.contains("3 repetitions") && plan.contains("1 repetition\n"),
        "{plan}"
    );
}

#[test]
fn a_search_varies_one_key_that_is_written_nowhere_else_and_can_fail() {
    let search = "[search]\nkey = \"arrival.rate_per_s\"\nlow = 1_000\nhigh = 50_000\n";
    let expect = "[expect]\njoin_p99_ms = 1_000\n";
    let one = "question = \"x\"\n[clients]\ncounts = [500]\n";
    let e = read(&format!("{one}{search}{expect}"), &[]).unwrap();
    assert!((e.search.unwrap().until - 0.05).abs() < 1e-9, "five per cent unless said otherwise");
    let plan = c2m::plan::list(&e);
    for part in ["largest arrival.rate_per_s from 1 000 to 50 000", "500 clients, 1000/s", "500 clients, 50000/s"] {
        assert!(plan.contains(part), "{part:?} is not in\n{plan}");
    }
    assert_refused(&format!("{one}{search}"), &[], &["[expect]"]);
    assert_refused(&format!("{MINIMAL}{search}{expect}"), &[], &["clients.counts", "write one count"]);
    assert_refused(&format!("{one}[arrival]\nrate_per_s = 5\n{search}{expect}"), &[], &["leave it out of [arrival]"]);
    assert_refused(&format!("{one}{search}{expect}"), &["search.key=clients.counts"], &["leave it out"]);
    assert_refused(&format!("{one}{search}{expect}"), &["search.high=10"], &["--set search.high=10", "from 1000"]);
    assert_refused(
        &format!("{one}{search}{expect}"),
        &["search.key=clients.count"],
        &["did you mean `clients.counts`"],
    );
    assert_refused(&format!("{one}{search}{expect}"), &["expect.loadgen_saturated=true"], &["leave it out"]);
}

#[test]
fn every_experiment_that_comes_along_can_be_read() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../experiments");
    for entry in std::fs::read_dir(dir).expect("experiments") {
        let path = entry.expect("entry").path();
        if path.extension().is_some_and(|e| e == "toml") {
            let e = c2m::experiment::load::load(&path, &[]).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(c2m::experiment::check::warnings(&e), Vec::<String>::new(), "{}", path.display());
        }
    }
}

/// n members of a room with presence take about n²/2 messages to gather, which the plan says; C08: a heartbeat that leaves
/// no second chance is warned of.
#[test]
fn what_will_cost_more_than_one_might_think_is_said_beforehand() {
    let warned = |clients: &str| {
        let text = format!("question = \"?\"\n[clients]\ncounts = [10, 1_000]\n{clients}\n");
        let e = read(&text, &[]).expect("a definition");
        (c2m::plan::list(&e), c2m::experiment::check::warnings(&e))
    };
    let (plan, warnings) = warned("topic = \"presence:lobby\"");
    assert!(plan.contains("about 55 messages") && plan.contains("about 500 500 messages"), "{plan}");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("500 500"), "{warnings:?}");

    let (plan, warnings) = warned("heartbeat_s = 31");
    assert!(!plan.contains("presence"), "{plan}");
    assert!(warnings.len() == 1 && warnings[0].contains("31 s") && warnings[0].contains("60 s"), "{warnings:?}");
    assert_eq!(warned("heartbeat_s = 30").1, Vec::<String>::new());
}
