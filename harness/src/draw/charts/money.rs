//! Chart 7, money: clients per monthly dollar, of this run where the definition gives a price, beside what was published.

use c2m_schema::rows::PointRow;

use crate::draw::canvas::{Canvas, Rect, Type};
use crate::draw::figure::{BODY, Blank, Figure};
use crate::draw::number;
use crate::draw::palette::{self, Color};
use crate::draw::panel::{AXIS_ROOM, Axis, LABEL_SIZE, Panel, SMALL_SIZE, fit};
use crate::draw::published;
use crate::draw::scale::Scale;
use crate::rundir::RunDir;

/// Title.
pub(super) const TITLE: &str = "What a client costs";

const UNITS: &str = "clients held per US dollar of the server's price for a month";

/// One bar.
struct Bar {
    name: String,
    /// Clients per dollar; none where there is no price.
    per_usd: Option<f64>,
    color: Color,
}

/// Draws the chart.
pub(super) fn draw(run: &RunDir) -> Result<Figure, Blank> {
    let mut bars: Vec<Bar> = published::all().iter().filter_map(of_others).collect();
    bars.sort_by(|a, b| a.per_usd.unwrap_or(0.0).total_cmp(&b.per_usd.unwrap_or(0.0)));
    let best =
        run.points.iter().max_by_key(|p| held(p)).ok_or_else(|| Blank::Empty("points.csv has no row".to_owned()))?;
    let price = run.record.as_ref().and_then(|r| r.host.price_per_month_usd).filter(|p| p.is_finite() && *p > 0.0);
    let clients = held(best);
    let own = price.map(|price| clients as f64 / price);
    let of = format!("This run: {} clients", number::count(clients));
    let name = match price {
        Some(price) => format!("{of} on one machine for {} a month", usd(price)),
        None => format!("{of}, no price given"),
    };
    bars.push(Bar { name, per_usd: own, color: palette::BLUE });
    let most = bars.iter().filter_map(|b| b.per_usd).fold(0.0, f64::max);
    let plot = Rect { x0: 28.0, y0: BODY.y0 + 6.0, x1: BODY.x1 - 130.0, y1: BODY.y1 - AXIS_ROOM };
    // The bars are named above themselves, so there is nothing to read at the side.
    let panel = Panel::new(plot, Scale::linear(0.0, most, 6), Scale::exact(0.0, bars.len() as f64));
    let mut canvas = Canvas::default();
    let axis = Axis { title: "clients per dollar and month", format: &number::short };
    panel.axes(&mut canvas, Some(&axis), &Axis { title: "", format: &|_| String::new() });
    let height = plot.height() / bars.len() as f64;
    for (index, bar) in bars.iter().enumerate() {
        draw_bar(&mut canvas, &panel, bar, plot.y0 + index as f64 * height, height);
    }
    let mut notes = vec!["grey: published by others".to_owned()];
    let same_machine = run.record.as_ref().is_none_or(|r| r.isolation.mode == "netns");
    if price.is_none() {
        let text = "[host] price_per_month_usd = … in the experiment gives this run its bar";
        let at = (plot.x0, plot.y1 - height * 0.4);
        canvas.halo(text, at, Type::new(SMALL_SIZE, palette::MUTED));
    } else if same_machine {
        notes.push("this run's machine held the clients' end as well".to_owned());
    }
    let subtitle = match (own, price) {
        (Some(own), Some(price)) => format!("{} clients per dollar, at {} a month", number::short(own), usd(price)),
        _ => "Clients per monthly dollar; the price of this machine is not given".to_owned(),
    };
    Ok(Figure { title: TITLE.to_owned(), subtitle, legend: Vec::new(), units: UNITS, notes, canvas })
}

fn held(point: &PointRow) -> u64 {
    point.live_at_end.or(point.joined).unwrap_or(0)
}

fn of_others(p: &published::Published) -> Option<Bar> {
    let price = p.monthly_usd.filter(|usd| *usd > 0.0)?;
    let name =
        format!("{} {}, published: {} clients for {} a month", p.system, p.year, number::count(p.clients), usd(price));
    Some(Bar { name, per_usd: Some(p.clients as f64 / price), color: palette::FAINT })
}

/// `$390`, `$0.5`.
fn usd(price: f64) -> String {
    format!("${}", number::significant(price))
}

fn draw_bar(canvas: &mut Canvas, panel: &Panel, bar: &Bar, top: f64, height: f64) {
    let left = panel.plot.x0;
    let style = Type::new(LABEL_SIZE, palette::text(bar.color)).bold();
    let name = fit(&bar.name, style, panel.plot.width() + 80.0);
    canvas.halo(name, (left, top + height * 0.22), style);
    let (y0, y1) = (top + height * 0.4, top + height * 0.85);
    let Some(per_usd) = bar.per_usd else { return };
    let end = panel.x.pixel(per_usd).clamp(left, panel.plot.x1).max(left + 2.0);
    canvas.rect(Rect { x0: left, y0, x1: end, y1 }, bar.color, 1.0);
    canvas.spot((end, f64::midpoint(y0, y1)), || format!("{per_usd:.1} clients per dollar and month\n{}", bar.name));
    let style = Type::new(30.0, palette::text(bar.color)).bold();
    canvas.halo(number::significant(per_usd), (end + 12.0, f64::midpoint(y0, y1)), style);
}
