//! Uniform policy (the paper's): exact uniform sampling from the probability simplex cut by the bounds.
//!
//! After shifting by the lower bounds the mixtures are a slice of a box: n coordinates in
//! [0, cap_i] with a given sum. Its coordinates are drawn one after the other by inverse transform sampling: P(x_1 <= x) is the slice's volume with cap_1 lowered to x, over its
//! whole volume. The volume is a sum of pyramids, positive terms only: the usual
//! inclusion-exclusion over the caps loses every digit when some bounds are narrow.

use base::{Error, Result, random::Stream};

use super::{Bounds, Policy};

/// Volumes that the first coordinate of a draw may take: those of eight attacks with narrow bounds are 50,000, of ten
/// 1,500,000.
const MOST_VOLUMES: u64 = 1_000_000;

/// Bisection steps until an interval within `[0,1]` is as narrow as f64 resolves.
const BISECTIONS: usize = 60;

/// Uniform over the simplex cut by the bounds.
pub struct Uniform;

impl Policy for Uniform {
    fn check(&self, bounds: &Bounds) -> Result<()> {
        let (sum, mut caps) = slice(bounds);
        caps.retain(|&cap| cap > 0.0);
        let mut left = MOST_VOLUMES;
        count_volumes(nearer_corner(sum, &caps).0, &mut caps, &mut left);
        if left > 0 {
            return Ok(());
        }
        Err(Error::Usage(format!(
            "--bounds: those of {} attacks are too many for exact draws by --policy uniform; bound fewer, or name another policy",
            caps.len()
        )))
    }

    fn redraw(
        &self,
        _: &[f64],
        _: Option<&[f64]>,
        bounds: &Bounds,
        stream: &mut Stream,
    ) -> Vec<f64> {
        let (sum, caps) = slice(bounds);
        let drawn = draw(sum, &caps, stream);
        let drawn = bounds.low().iter().zip(drawn).map(|(low, x)| low + x);
        // Removes the rounding of the sums; moves the draw by less than 1e-15.
        bounds.project(&drawn.collect::<Vec<f64>>())
    }
}

/// The bounds' simplex, shifted by the lower bounds: the coordinates' sum, and the upper end of each.
fn slice(bounds: &Bounds) -> (f64, Vec<f64>) {
    let (low, high) = (bounds.low(), bounds.high());
    let caps = high.iter().zip(low).map(|(high, low)| high - low).collect();
    (1.0 - low.iter().sum::<f64>(), caps)
}

/// The sum of the distances to 0, or, where it is smaller, to the caps; and whether it is the latter. Near the far corner
/// the distance to the caps loses fewer digits to cancellation.
fn nearer_corner(sum: f64, caps: &[f64]) -> (f64, bool) {
    let total: f64 = caps.iter().sum();
    let mirrored = sum > 0.5 * total;
    (if mirrored { total - sum } else { sum }.max(0.0), mirrored)
}

/// A point drawn uniformly from {x : sum x = `sum`, 0 <= x_i <= `caps`_i}.
fn draw(sum: f64, caps: &[f64], stream: &mut Stream) -> Vec<f64> {
    let (mut left, mirrored) = nearer_corner(sum, caps);
    let mut point = Vec::with_capacity(caps.len());
    for (i, &cap) in caps.iter().enumerate() {
        // One random number per coordinate, also for a fixed one, so that the others' numbers do not shift.
        let share = stream.uniform();
        let x = coordinate(left, cap, &caps[i + 1..], share);
        left = (left - x).max(0.0);
        point.push(if mirrored { cap - x } else { x });
    }
    point
}

/// The coordinate with this cap at the quantile `share` of its distribution, when it and others
/// with caps `rest` sum to `sum`.
fn coordinate(sum: f64, cap: f64, rest: &[f64], share: f64) -> f64 {
    let mut low = (sum - rest.iter().sum::<f64>()).clamp(0.0, cap);
    let mut high = cap.min(sum);
    let mut caps: Vec<f64> = rest.iter().copied().filter(|&cap| cap > 0.0).collect();
    caps.push(cap);
    let last = caps.len() - 1;
    if last == 0 {
        return high;
    }
    let wanted = share * volume(sum, &mut caps);
    for _ in 0..BISECTIONS {
        if low >= high {
            break;
        }
        let middle = 0.5 * (low + high);
        caps[last] = middle;
        if volume(sum, &mut caps) < wanted {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// The volume of {x : sum x = `sum`, 0 <= x_i <= `caps`_i}, as seen along any one coordinate, for
/// at least 2 caps. From any point y of it, the pyramids to its facets x_i = 0 and x_i = cap_i,
/// which are y_i and cap_i - y_i away, fill it:
///
/// ```text
/// (n - 1) V(sum; caps) = sum over i of          y_i * V(sum;         caps without i)
///                                    + (cap_i - y_i) * V(sum - cap_i; caps without i)
/// ```
///
/// A vertex y lies on all facets but n + 1, so (n + 1)! / 6 ends are visited: 840 for six attacks, 6720 for seven.
/// `caps` are permuted meanwhile and restored.
fn volume(sum: f64, caps: &mut [f64]) -> f64 {
    if sum <= 0.0 || sum >= caps.iter().sum() {
        return 0.0;
    }
    if let [a, b] = *caps {
        return a.min(sum) - (sum - b).max(0.0);
    }
    let mut pyramids = 0.0;
    for_each_pyramid(sum, caps, |height, sum, base| {
        pyramids += height * volume(sum, base);
    });
    pyramids / (caps.len() - 1) as f64
}

/// Calls `pyramid` with the height of each pyramid, and the sum and the caps of its base.
fn for_each_pyramid(sum: f64, caps: &mut [f64], mut pyramid: impl FnMut(f64, f64, &mut [f64])) {
    let (last, mut left) = (caps.len() - 1, sum);
    for i in 0..=last {
        caps.swap(i, last);
        let (cap, others) = (caps[last], &mut caps[..last]);
        let y = cap.min(left);
        left -= y;
        if y > 0.0 {
            pyramid(y, sum, others);
        }
        if y < cap {
            pyramid(cap - y, sum - cap, others);
        }
        caps.swap(i, last);
    }
}

/// Subtracts from `left`, as long as it is above 0, the volumes that [`volume`] computes.
fn count_volumes(sum: f64, caps: &mut [f64], left: &mut u64) {
    *left = left.saturating_sub(1);
    if *left > 0 && caps.len() > 2 && sum > 0.0 && sum < caps.iter().sum() {
        for_each_pyramid(sum, caps, |_, sum, base| count_volumes(sum, base, left));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same by rejection sampling: all coordinates but the widest uniform in their ranges, until the
    /// widest can make up the sum.
    fn rejection(sum: f64, caps: &[f64], stream: &mut Stream) -> Vec<f64> {
        let widest = (0..caps.len())
            .max_by(|&a, &b| caps[a].total_cmp(&caps[b]))
            .unwrap();
        loop {
            let mut point: Vec<f64> = caps.iter().map(|cap| cap * stream.uniform()).collect();
            point[widest] = 0.0;
            point[widest] = sum - point.iter().sum::<f64>();
            if (0.0..=caps[widest]).contains(&point[widest]) {
                return point;
            }
        }
    }

    /// The greatest distance between two samples' distribution functions (Kolmogorov, Smirnov).
    fn distance(mut a: Vec<f64>, mut b: Vec<f64>) -> f64 {
        a.sort_by(f64::total_cmp);
        b.sort_by(f64::total_cmp);
        let below = |x: f64, sorted: &[f64]| sorted.partition_point(|&y| y <= x) as f64;
        let apart =
            |&x: &f64| (below(x, &a) / a.len() as f64 - below(x, &b) / b.len() as f64).abs();
        a.iter().chain(&b).map(apart).fold(0.0, f64::max)
    }

    #[test]
    fn volumes_equal_inclusion_and_exclusion_where_that_keeps_its_digits() {
        let mut stream = Stream::new(1, "volume", &[]);
        for n in 2..=6u32 {
            let factorial: f64 = (1..n).map(f64::from).product();
            for _ in 0..50 {
                let mut caps: Vec<f64> = (0..n).map(|_| stream.between(0.2, 1.0)).collect();
                let sum = stream.uniform() * caps.iter().sum::<f64>();
                let terms = (0..1u32 << n).map(|set| {
                    let capped: f64 = (0..n)
                        .filter(|i| set >> i & 1 == 1)
                        .map(|i| caps[i as usize])
                        .sum();
                    let sign = if set.count_ones() % 2 == 0 { 1.0 } else { -1.0 };
                    sign * (sum - capped).max(0.0).powi(n as i32 - 1) / factorial
                });
                let expected: f64 = terms.sum();
                let before = caps.clone();
                let found = volume(sum, &mut caps);
                assert!(
                    (found - expected).abs() < 1e-12,
                    "{sum} {caps:?}: {found} {expected}"
                );
                assert_eq!(caps, before);
            }
        }
    }

    #[test]
    fn volumes_keep_their_digits_where_caps_are_narrow() {
        // Far from the ends a narrow cap only multiplies: V = 1e-24 * V(sum; wide caps).
        let found = volume(0.7, &mut [1e-8, 1e-8, 1.0, 1e-8, 1.0]);
        assert!((found / 1e-24 / 0.7 - 1.0).abs() < 1e-7, "{found}");
    }

    #[test]
    fn marginals_and_pairs_equal_those_of_a_rejection_sampler() {
        for (case, (sum, caps, draws)) in [
            (1.0, vec![1.0; 6], 20_000),
            (1.0, vec![0.25; 6], 5_000),
            (0.8, vec![0.3, 0.7, 0.05, 0.4], 20_000),
            (1.0, vec![0.5, 0.2, 0.0, 0.6], 20_000),
            (0.3, vec![0.3, 1e-7, 0.2], 20_000),
            (0.5, vec![0.4, 0.3], 20_000),
        ]
        .into_iter()
        .enumerate()
        {
            let mut stream = Stream::new(11, "uniform", &[case as u64]);
            let exact: Vec<_> = (0..draws).map(|_| draw(sum, &caps, &mut stream)).collect();
            let trial: Vec<_> = (0..draws)
                .map(|_| rejection(sum, &caps, &mut stream))
                .collect();
            // The distance that equal distributions exceed once in 10,000 times.
            let limit = 2.23 * (2.0 / f64::from(draws)).sqrt();
            for i in 0..caps.len() {
                for j in 0..=i {
                    // The weighted sum of two coordinates also tests their correlation.
                    let of = |points: &[Vec<f64>]| -> Vec<f64> {
                        points.iter().map(|x| x[i] + x[j] / 3.0).collect()
                    };
                    let found = distance(of(&exact), of(&trial));
                    assert!(found < limit, "case {case}, {i} {j}: {found} {limit}");
                }
            }
        }
    }

    #[test]
    fn bounds_whose_exact_draw_would_not_end_are_refused() {
        let check = |count: usize, bounded: usize| {
            let names: Vec<String> = (0..count).map(|i| format!("a{i}")).collect();
            let texts: Vec<String> = names[..bounded]
                .iter()
                .map(|name| format!("{name}=0.02..0.25"))
                .collect();
            Uniform.check(&Bounds::parse(&texts.join(","), &names).unwrap())
        };
        for (count, bounded) in [(6, 6), (9, 9), (12, 6), (40, 0)] {
            check(count, bounded).unwrap();
        }
        for count in [12, 18] {
            let error = check(count, count).unwrap_err().to_string();
            assert!(error.contains("--bounds"), "{error}");
        }
    }

    #[test]
    fn a_single_possible_mixture_is_drawn() {
        let mut stream = Stream::new(3, "uniform", &[]);
        let attacks = ["a", "b", "c"].map(String::from);
        for (text, expected) in [
            ("a=0.2,b=0.3,c=0.5", [0.2, 0.3, 0.5]),
            ("a=0.2,b=0.3", [0.2, 0.3, 0.5]),
            ("a=0..0.2,b=0..0.3,c=0..0.5", [0.2, 0.3, 0.5]),
            ("a=0.2..1,b=0.3..1,c=0.5..1", [0.2, 0.3, 0.5]),
            ("b=1", [0.0, 1.0, 0.0]),
        ] {
            let bounds = Bounds::parse(text, &attacks).unwrap();
            let p = Uniform.redraw(&[], None, &bounds, &mut stream);
            for (p, expected) in p.iter().zip(expected) {
                assert!((p - expected).abs() < 1e-12, "{text}: {p} {expected}");
            }
        }
        let one = Bounds::parse("", &attacks[..1]).unwrap();
        assert_eq!(Uniform.redraw(&[], None, &one, &mut stream), [1.0]);
    }
}
