//! The picture of docs/SCALE.md: logins a second over loaders, both in powers.

use std::fmt::Write as _;

use crate::report::{COMPARED, CURVE};
use crate::scenario::Scenario;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 430.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 700.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 370.0;
/// Logins a second at the bottom and at the top, as powers of ten.
const POWERS: (i32, i32) = (3, 6);
/// The best that was measured, in docs/PERFORMANCE.md.
pub const BEST_MEASURED: f64 = 20_324.0;
const COLOURS: [&str; 3] = ["#b35900", "#00695c", "#283593"];

/// The picture, as SVG.
pub fn picture() -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <title>Logins a second by the number of loaders, simulated</title>\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n"
    );
    let mut draw = |line: String| {
        let _ = writeln!(svg, "{line}");
    };
    for power in POWERS.0..=POWERS.1 {
        let at = y(10f64.powi(power));
        draw(format!("<path d=\"M{LEFT} {at:.1}H{RIGHT}\" stroke=\"#dddddd\"/>"));
        let name = ["1,000", "10,000", "100,000", "1,000,000"][(power - POWERS.0) as usize];
        draw(text(LEFT - 8.0, at + 4.0, "end", "#333333", name));
    }
    for loaders in CURVE {
        draw(text(x(loaders), BOTTOM + 20.0, "middle", "#333333", &loaders.to_string()));
    }
    draw(text((LEFT + RIGHT) / 2.0, BOTTOM + 44.0, "middle", "#333333", "loaders, two lanes each"));
    draw(text(LEFT - 70.0, TOP - 24.0, "start", "#333333", "logins a second"));
    let best = y(BEST_MEASURED);
    draw(format!("<path d=\"M{LEFT} {best:.1}H{RIGHT}\" stroke=\"#777777\" stroke-dasharray=\"5 4\"/>"));
    draw(text(RIGHT, best + 16.0, "end", "#555555", "the most that was measured; all above is simulated"));
    for (n, (database, colour)) in COMPARED.iter().zip(COLOURS).enumerate() {
        let points = CURVE.map(|loaders| {
            let scenario = Scenario::of(loaders, *database);
            (x(loaders), y(scenario.full().rate))
        });
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
        draw(format!("<path d=\"M{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>", path.join("L")));
        for (x, y) in points {
            draw(format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>"));
        }
        let at = TOP + 22.0 + 18.0 * n as f64;
        draw(format!("<path d=\"M{} {at}h24\" stroke=\"{colour}\" stroke-width=\"2\"/>", LEFT + 16.0));
        draw(text(LEFT + 48.0, at + 4.0, "start", colour, &format!("database: {}", database.name)));
    }
    svg + "</svg>\n"
}

fn text(x: f64, y: f64, anchor: &str, colour: &str, words: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{words}</text>")
}

fn x(loaders: usize) -> f64 {
    let steps = CURVE.iter().position(|of| *of == loaders).unwrap_or_default();
    LEFT + 20.0 + steps as f64 * (RIGHT - LEFT - 40.0) / (CURVE.len() - 1) as f64
}

fn y(rate: f64) -> f64 {
    let share = (rate.log10() - f64::from(POWERS.0)) / f64::from(POWERS.1 - POWERS.0);
    BOTTOM - share * (BOTTOM - TOP)
}
