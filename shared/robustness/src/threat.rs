//! Threat model: the norm and the radius of the ball that perturbations stay in, its projection, and
//! random points of it.

use base::random::{Stream, key, uniform_at};
use serde::{Deserialize, Serialize};

/// Norm of a perturbation.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::VariantNames,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Norm {
    /// The largest change of a pixel's channel.
    Linf,
    /// The Euclidean length of the change.
    L2,
}

/// All images within `eps` of the clean one, with pixels in `[0,1]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ThreatModel {
    /// The norm.
    pub norm: Norm,
    /// The radius, in `[0,1]` units.
    pub eps: f32,
}

impl ThreatModel {
    /// Projects a point onto the ball around `clean`, then onto `[0,1]`. For L2 the second step may
    /// leave the point a little inside the ball.
    pub fn project(&self, clean: &[f32], point: &mut [f32]) {
        let eps = self.eps;
        match self.norm {
            Norm::Linf => {
                for (x, &c) in point.iter_mut().zip(clean) {
                    *x = x.max(c - eps).min(c + eps).clamp(0.0, 1.0);
                }
            }
            Norm::L2 => {
                let length = distance_l2(clean, point);
                let scale = eps.min(length) / (length + TINY);
                for (x, &c) in point.iter_mut().zip(clean) {
                    *x = (c + (*x - c) * scale).clamp(0.0, 1.0);
                }
            }
        }
    }

    /// Distance between two images in the norm.
    pub fn distance(&self, a: &[f32], b: &[f32]) -> f32 {
        match self.norm {
            Norm::Linf => a
                .iter()
                .zip(b)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max),
            Norm::L2 => distance_l2(a, b),
        }
    }

    /// Adds `step` times the steepest ascent direction of this norm: the gradient's sign (Linf; the
    /// sign of 0 is 0) or the gradient over its length (L2).
    pub fn ascend(&self, point: &mut [f32], gradient: &[f32], step: f32) {
        match self.norm {
            Norm::Linf => {
                for (x, &g) in point.iter_mut().zip(gradient) {
                    *x += step * sign(g);
                }
            }
            Norm::L2 => {
                let scale = 1.0 / (length_l2(gradient) + TINY);
                for (x, &g) in point.iter_mut().zip(gradient) {
                    *x += step * (g * scale);
                }
            }
        }
    }

    /// A random point of the ball, projected: uniform in each pixel (Linf), or in a uniform direction
    /// at a distance whose volume is uniform (L2). A function of (seed, purpose, indices).
    pub fn random_point(
        &self,
        clean: &[f32],
        seed: u64,
        purpose: &str,
        indices: &[u64],
    ) -> Vec<f32> {
        let mut point = match self.norm {
            Norm::Linf => {
                let key = key(seed, purpose, indices);
                let noise = |i: usize| self.eps * (2.0 * uniform_at(key, i as u64) - 1.0);
                clean
                    .iter()
                    .enumerate()
                    .map(|(i, &c)| c + noise(i))
                    .collect::<Vec<f32>>()
            }
            Norm::L2 => {
                let mut stream = Stream::new(seed, purpose, indices);
                let direction = normal_direction(&mut stream, clean.len());
                let radius = stream.uniform().powf(1.0 / clean.len() as f64) as f32 * self.eps;
                clean
                    .iter()
                    .zip(direction)
                    .map(|(&c, d)| c + radius * d)
                    .collect()
            }
        };
        self.project(clean, &mut point);
        point
    }

    /// A random point of the ball's surface, clipped to `[0,1]` (the start of APGD): uniform noise
    /// scaled to the radius (Linf: the largest coordinate lies on it), or a uniform direction (L2).
    pub fn random_surface_point(
        &self,
        clean: &[f32],
        seed: u64,
        purpose: &str,
        indices: &[u64],
    ) -> Vec<f32> {
        let mut stream = Stream::new(seed, purpose, indices);
        let direction: Vec<f32> = match self.norm {
            Norm::Linf => {
                let noise: Vec<f32> = clean
                    .iter()
                    .map(|_| stream.between(-1.0, 1.0) as f32)
                    .collect();
                let largest = noise
                    .iter()
                    .fold(0.0, |largest: f32, n| largest.max(n.abs()));
                noise.into_iter().map(|n| n / (largest + TINY)).collect()
            }
            Norm::L2 => normal_direction(&mut stream, clean.len()),
        };
        let point = clean.iter().zip(direction);
        point
            .map(|(&c, d)| (c + self.eps * d).clamp(0.0, 1.0))
            .collect()
    }
}

/// Keeps a division by a length of 0 finite.
const TINY: f32 = 1e-12;

/// -1, 0 or 1, as PyTorch's.
fn sign(value: f32) -> f32 {
    f32::from(i8::from(value > 0.0) - i8::from(value < 0.0))
}

/// A unit vector of uniform direction.
fn normal_direction(stream: &mut Stream, len: usize) -> Vec<f32> {
    let normal: Vec<f32> = (0..len).map(|_| stream.normal() as f32).collect();
    let length = length_l2(&normal) + TINY;
    normal.into_iter().map(|n| n / length).collect()
}

/// Euclidean length; summed in f64, in order.
pub fn length_l2(values: &[f32]) -> f32 {
    let square = |&v: &f32| f64::from(v) * f64::from(v);
    values.iter().map(square).sum::<f64>().sqrt() as f32
}

fn distance_l2(a: &[f32], b: &[f32]) -> f32 {
    let square = |(a, b): (&f32, &f32)| f64::from(a - b) * f64::from(a - b);
    a.iter().zip(b).map(square).sum::<f64>().sqrt() as f32
}
