//! SVG charts of ordinary and of degenerate series: every coordinate lies within the drawing.

use super::*;

fn line_chart(series: &[&[(f64, f64)]], unit: Unit) -> String {
    let series = series.iter().map(|points| Series {
        name: "a <b>".into(),
        color: 1,
        dashed: false,
        points: points.to_vec(),
    });
    let (title, marked) = ("loss & more".into(), Some(2.0));
    LineChart {
        title,
        horizontal: Horizontal::Epochs,
        unit,
        series: series.collect(),
        marked,
    }
    .render()
    .into_string()
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
fn any_series_has_finite_svg_coordinates_within_the_drawing() {
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
            assert_drawn_within(&line_chart(series, unit));
        }
    }
    assert!(line_chart(&[&[]], Unit::Number).contains("Nothing measured yet"));
}

#[test]
fn a_line_chart_passes_through_its_points_and_stops_at_gaps() {
    let points = [(1.0, 0.0), (2.0, 1.0), (3.0, f64::NAN), (4.0, 0.5)];
    let html = line_chart(&[&points], Unit::Percent);
    // Four epochs share 386 units after 44; the values span 204 units above 214.
    let path = "d=\"M92.2 214.0L188.8 10.0M381.8 112.0\"";
    assert!(html.contains(path), "{html}");
    assert_eq!(html.matches("<circle").count(), 2);
    assert!(html.contains("loss &amp; more") && html.contains("a &lt;b&gt;"));
}

#[test]
fn named_values_stand_at_even_distances_with_their_names() {
    let chart = |labels: &[&str], points: &[(f64, f64)]| {
        let chart = LineChart {
            title: "accuracy".into(),
            horizontal: Horizontal::Named {
                title: "L2 distance".into(),
                labels: labels.iter().map(|label| (*label).into()).collect(),
            },
            unit: Unit::Percent,
            series: vec![Series {
                name: "run".into(),
                color: 1,
                dashed: false,
                points: points.to_vec(),
            }],
            marked: None,
        };
        chart.render().into_string()
    };
    let html = chart(&["0", "<0.5>"], &[(0.0, 1.0), (1.0, 0.0)]);
    // Each has half of 386 units after 44.
    assert!(html.contains("d=\"M140.5 10.0L333.5 214.0\""), "{html}");
    assert!(html.contains("run, L2 distance &lt;0.5&gt;: 0.0"), "{html}");
    assert!(html.contains(">&lt;0.5&gt;</text>") && html.contains(">L2 distance</text>"));
    assert_drawn_within(&html);
    for points in [&[][..], &[(7.0, 0.5), (1e300, 0.25)]] {
        assert_drawn_within(&chart(&["0"], points));
        assert_drawn_within(&chart(&[], points));
    }
}

#[test]
fn a_stacked_chart_fills_the_sum_of_its_bands() {
    let band = |name: &str, values: &[f64]| Band {
        name: name.into(),
        color: 0,
        values: values.to_vec(),
    };
    let stack = |epochs: &[f64], bands| {
        let (title, epochs) = ("draws".into(), epochs.to_vec());
        StackedChart {
            title,
            epochs,
            bands,
        }
        .render()
        .into_string()
    };
    let html = stack(
        &[1.0, 2.0],
        vec![band("clean", &[0.5, 0.25]), band("bim", &[0.5, 0.75])],
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
    let degenerate = [
        stack(&[], vec![band("clean", &[])]),
        stack(&[3.0], vec![band("clean", &[f64::NAN])]),
        stack(
            &[3.0, 9.0],
            vec![band("clean", &[7.0]), band("bim", &[-1.0, 1e300])],
        ),
    ];
    degenerate.iter().for_each(|html| assert_drawn_within(html));
}
