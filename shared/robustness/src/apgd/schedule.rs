//! Checkpoints of APGD: the iterations after which step sizes are halved where progress has stopped
//! (Croce & Hein 2020, section 4.2; AutoAttack's code fixes the rounding).

/// Counts iterations up to the next checkpoint.
#[derive(Clone, Debug)]
pub struct Schedule {
    window: usize,
    decrease: usize,
    shortest: usize,
    count: usize,
}

impl Schedule {
    /// The checkpoints of a run of `iterations`: the first after 22 %, then in windows that shrink by 3 %
    /// down to 6 %.
    pub fn new(iterations: u32) -> Self {
        let part = |part: f64| ((part * f64::from(iterations)) as usize).max(1);
        Self {
            window: part(0.22),
            decrease: part(0.03),
            shortest: part(0.06),
            count: 0,
        }
    }

    /// Counts one iteration; at a checkpoint the length of the window that ends there.
    pub fn tick(&mut self) -> Option<usize> {
        self.count += 1;
        if self.count < self.window {
            return None;
        }
        let window = self.window;
        self.count = 0;
        self.window = window.saturating_sub(self.decrease).max(self.shortest);
        Some(window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoints(iterations: u32) -> Vec<u32> {
        let mut schedule = Schedule::new(iterations);
        (1..=iterations)
            .filter(|_| schedule.tick().is_some())
            .collect()
    }

    #[test]
    fn checkpoints_of_apgd_are_those_of_autoattack() {
        assert_eq!(checkpoints(100), [22, 41, 57, 70, 80, 87, 93, 99]);
        assert_eq!(checkpoints(50), [11, 21, 30, 38, 45]);
        assert_eq!(checkpoints(20)[..5], [4, 7, 9, 10, 11]);
        assert_eq!(checkpoints(1), [1]);
    }
}
