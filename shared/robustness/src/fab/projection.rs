//! Projection onto a hyperplane within the box `[0,1]`, exact, in Linf or L2 (the subproblem of Croce & Hein 2020,
//! "Minimally distorted adversarial examples with a fast adaptive boundary attack"), by fixing variables (Bitran & Hax
//! 1981) in place of a sort.
//!
//! The least displacement moves coordinate i by `min(t r_i, room_i)` towards the hyperplane: `room_i` is its distance to
//! the box's face, `r_i` is 1 (Linf) or `|w_i|` (L2), and `t` is the root of `sum |w_i| min(t r_i, room_i) = |excess|`.
//! With some coordinates fixed at their faces, `t` is a quotient; it only grows as more are fixed, so a coordinate once
//! fixed stays so, and the first `t` that fixes no other is the root. A pass is linear in the coordinates that are left.

use crate::Norm;

/// The displacement `d` of least norm for which `point + d` lies in `[0,1]` and on the hyperplane of this `normal`,
/// where `excess` is `<normal, point>` less the hyperplane's constant. If the box does not reach the hyperplane, `d`
/// leads to the nearest face in each coordinate. Where the normal is 0, `d` is.
///
/// `point` is in `[0,1]` and as long as `normal`; all are finite.
pub fn displacement(norm: Norm, point: &[f32], normal: &[f32], excess: f64) -> Vec<f32> {
    let downhill = if excess >= 0.0 { -1.0 } else { 1.0 };
    let coordinate = |(&x, &w): (&f32, &f32)| Coordinate {
        weight: f64::from(w.abs()),
        room: f64::from(room(x, downhill * w)),
    };
    let mut free: Vec<Coordinate> = point.iter().zip(normal).map(coordinate).collect();
    free.retain(|c| c.weight > 0.0);
    let multiplier = multiplier(norm, free, excess.abs());
    let moved = |(&x, &w): (&f32, &f32)| {
        let (direction, room) = (downhill * w, room(x, downhill * w));
        if direction == 0.0 {
            return 0.0;
        }
        let length = (multiplier * rate(norm, f64::from(w.abs()))) as f32;
        length.min(room).copysign(direction)
    };
    point.iter().zip(normal).map(moved).collect()
}

/// A coordinate that may move: `|w_i|`, and how far it is from the face that it moves to.
struct Coordinate {
    weight: f64,
    room: f64,
}

/// The distance to the face of `[0,1]` that lies in this direction.
fn room(x: f32, direction: f32) -> f32 {
    if direction > 0.0 { 1.0 - x } else { x }
}

/// How fast a coordinate moves as the multiplier grows.
fn rate(norm: Norm, weight: f64) -> f64 {
    match norm {
        Norm::Linf => 1.0,
        Norm::L2 => weight,
    }
}

/// The multiplier `t`; infinite if all coordinates together do not reach the hyperplane.
fn multiplier(norm: Norm, mut free: Vec<Coordinate>, mut excess: f64) -> f64 {
    loop {
        let decrease: f64 = free.iter().map(|c| c.weight * rate(norm, c.weight)).sum();
        if free.is_empty() || decrease == 0.0 {
            return f64::INFINITY;
        }
        let multiplier = excess / decrease;
        let before = free.len();
        free.retain(|c| {
            let stays = c.room >= multiplier * rate(norm, c.weight);
            if !stays {
                excess -= c.weight * c.room;
            }
            stays
        });
        if free.len() == before {
            return multiplier;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NORMS: [Norm; 2] = [Norm::Linf, Norm::L2];

    #[test]
    fn a_projection_onto_a_hyperplane_by_hand() {
        // 3 x + 4 y = 3.5 from (0.5, 0.5) is there already; 3 x + 4 y = 1 is 2.5 below.
        let (point, normal) = ([0.5, 0.5], [3.0, 4.0]);
        for norm in NORMS {
            assert_eq!(displacement(norm, &point, &normal, 0.0), [0.0, 0.0]);
        }
        let linf = displacement(Norm::Linf, &point, &normal, 2.5);
        assert_eq!(linf, [-2.5 / 7.0, -2.5 / 7.0]);
        let l2 = displacement(Norm::L2, &point, &normal, 2.5);
        assert!((l2[0] + 0.3).abs() < 1e-7 && (l2[1] + 0.4).abs() < 1e-7);
        // The first coordinate has no more room than 0.1: the second does the rest.
        for norm in NORMS {
            let d = displacement(norm, &[0.1, 0.9], &normal, 2.5);
            assert_eq!(d[0], -0.1, "{norm}");
            assert!((d[1] + 2.2 / 4.0).abs() < 1e-6, "{norm}");
        }
    }

    #[test]
    fn a_hyperplane_out_of_the_boxs_reach_gives_the_nearest_corner() {
        for norm in NORMS {
            let d = displacement(norm, &[0.25, 0.5, 0.75], &[1.0, 0.0, -1e-30], -3.0);
            assert_eq!(d, [0.75, 0.0, -0.75], "{norm}");
        }
    }

    #[test]
    fn a_normal_of_zero_moves_nothing() {
        for norm in NORMS {
            let d = displacement(norm, &[0.0, 0.5, 1.0], &[0.0, -0.0, 0.0], 1.0);
            assert_eq!(d, [0.0; 3], "{norm}");
        }
    }
}
