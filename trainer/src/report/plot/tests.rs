//! Charts of ordinary and of odd series: every number lies within the drawing.

use super::*;

fn lines(series: &[&[(f64, f64)]], unit: Unit) -> String {
    let series = series.iter().map(|points| Series {
        name: "a <b>".into(),
        color: 1,
        dashed: false,
        points: points.to_vec(),
    });
    let (title, mark) = ("loss & more".into(), Some(2.0));
    Lines {
        title,
        unit,
        series: series.collect(),
        mark,
    }
    .html()
}

/// Every number of the SVG's attributes lies within the drawing.
fn assert_drawn_within(html: &str) {
    assert!(!html.contains("NaN") && !html.contains("inf"), "{html}");
    for attribute in [" d=\"", " x=\"", " y=\"", " cx=\"", " cy=\""] {
        for value in html.split(attribute).skip(1) {
            let value = value.split('"').next().unwrap();
            let numbers = value.split(|c: char| !c.is_ascii_digit() && c != '.' && c != '-');
            for number in numbers.filter(|n| !n.is_empty()) {
                let number: f64 = number.parse().unwrap();
                assert!((0.0..=WIDTH).contains(&number), "{number} in {value}");
            }
        }
    }
}

#[test]
fn any_series_is_drawn_with_finite_numbers_within_the_frame() {
    let nan = f64::NAN;
    let cases: [&[&[(f64, f64)]]; 8] = [
        &[],
        &[&[]],
        &[&[(1.0, 0.5)]],
        &[&[(1.0, 0.0), (2.0, 0.0)], &[]],
        &[&[(1.0, 3.0), (2.0, 3.0), (3.0, 3.0)]],
        &[&[(1.0, 0.1), (2.0, nan), (3.0, 0.9), (4.0, f64::INFINITY)]],
        &[&[(7.0, -1e99), (9.0, 1e99), (10.0, f64::MAX)]],
        &[&[(1.0, nan)], &[(4294967295.0, 2.0)]],
    ];
    for series in cases {
        for unit in [Unit::Number, Unit::Percent] {
            assert_drawn_within(&lines(series, unit));
        }
    }
    assert!(lines(&[&[]], Unit::Number).contains("Nothing measured yet"));
}

#[test]
fn a_line_goes_through_its_points_and_stops_at_gaps() {
    let points = [(1.0, 0.0), (2.0, 1.0), (3.0, f64::NAN), (4.0, 0.5)];
    let html = lines(&[&points], Unit::Percent);
    // Four epochs share 386 units after 44; the values span 204 units above 214.
    let path = "d=\"M92.2 214.0L188.8 10.0M381.8 112.0\"";
    assert!(html.contains(path), "{html}");
    assert_eq!(html.matches("<circle").count(), 2);
    assert!(html.contains("loss &amp; more") && html.contains("a &lt;b&gt;"));
}

#[test]
fn a_stack_fills_what_its_parts_sum_to() {
    let layer = |name: &str, values: &[f64]| Layer {
        name: name.into(),
        color: 0,
        values: values.to_vec(),
    };
    let stack = |epochs: &[f64], layers| {
        let (title, epochs) = ("draws".into(), epochs.to_vec());
        Stack {
            title,
            epochs,
            layers,
        }
        .html()
    };
    let html = stack(
        &[1.0, 2.0],
        vec![layer("clean", &[0.5, 0.25]), layer("bim", &[0.5, 0.75])],
    );
    assert!(
        html.contains(
            "d=\"M44.0 112.0H237.0L237.0 163.0H430.0L430.0 214.0H237.0L237.0 214.0H44.0Z\""
        ),
        "{html}"
    );
    assert!(
        html.contains(
            "d=\"M44.0 10.0H237.0L237.0 10.0H430.0L430.0 163.0H237.0L237.0 112.0H44.0Z\""
        )
    );
    let odd = [
        stack(&[], vec![layer("clean", &[])]),
        stack(&[3.0], vec![layer("clean", &[f64::NAN])]),
        stack(
            &[3.0, 9.0],
            vec![layer("clean", &[7.0]), layer("bim", &[-1.0, 1e300])],
        ),
    ];
    odd.iter().for_each(|html| assert_drawn_within(html));
}
