//! Square in Linf: stripes at the start, then squares, with changes of the radius in each channel.

use data::{IMAGE_BYTES, IMAGE_SIDE};

use super::Random;
use crate::ThreatModel;

const CHANNEL: usize = IMAGE_SIDE * IMAGE_SIDE;

/// The start: each column of each channel is changed by the radius, up or down.
pub fn start(threat: &ThreatModel, clean: &[f32], random: &mut impl Random) -> Vec<f32> {
    let mut point = clean.to_vec();
    for channel in point.chunks_exact_mut(CHANNEL) {
        let changes: Vec<f32> = (0..IMAGE_SIDE)
            .map(|_| threat.eps * random.sign())
            .collect();
        for row in channel.chunks_exact_mut(IMAGE_SIDE) {
            for (x, change) in row.iter_mut().zip(&changes) {
                *x = (*x + change).clamp(0.0, 1.0);
            }
        }
    }
    point
}

/// A proposal: in one window each channel of the best point is set to one end of the ball.
pub fn propose(
    threat: &ThreatModel,
    clean: &[f32],
    best: &[f32],
    side: usize,
    random: &mut impl Random,
    proposal: &mut [f32],
) {
    proposal.copy_from_slice(best);
    let top = random.origin(IMAGE_SIDE - side);
    let left = random.origin(IMAGE_SIDE - side);
    for channel in 0..IMAGE_BYTES / CHANNEL {
        let change = 2.0 * threat.eps * random.sign();
        for row in top..top + side {
            let first = channel * CHANNEL + row * IMAGE_SIDE + left;
            let window = first..first + side;
            let point = &mut proposal[window.clone()];
            point.iter_mut().for_each(|x| *x += change);
            threat.project(&clean[window], point);
        }
    }
}
