//! Learning-rate schedules (constant, step decay, cosine, linear warm-up) as a pure function of the step, so that
//! a resumed run needs no state for them.

use base::{Error, Result};
use serde::{Deserialize, Serialize};

/// Learning rate over a run: linear warm-up, then a decay.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Schedule {
    /// Epochs (fractions allowed) in which the rate rises linearly; 0 for no warm-up.
    pub warmup: f64,
    /// The decay.
    pub decay: Decay,
    /// Epochs of the schedule that earlier runs have done, where this run goes on training their weights. Order, draws and
    /// crops of the images go on from there, too.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start: u64,
    /// Epochs of the whole schedule; none where it ends with this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u64>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The shape of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Decay {
    /// Always the base rate.
    Constant,
    /// Times `gamma` after every `every` epochs, counted from the schedule's start (PyTorch's `StepLR`).
    Step {
        /// Epochs between two decays, at least 1.
        every: u64,
        /// Factor of one decay, in (0, 1].
        gamma: f64,
    },
    /// Half a cosine from the base rate at the warm-up's end to 0 at the schedule's end, step by step
    /// (Loshchilov and Hutter, "SGDR", 2017, without restarts).
    Cosine,
}

/// Epochs between two step decays, unless set.
pub const DEFAULT_STEP_EPOCHS: u64 = 50;

/// Factor of a step decay, unless set.
pub const DEFAULT_STEP_GAMMA: f64 = 0.1;

impl Default for Schedule {
    /// The base rate throughout, as in the paper.
    fn default() -> Self {
        Self {
            warmup: 0.0,
            decay: Decay::Constant,
            start: 0,
            epochs: None,
        }
    }
}

impl Schedule {
    /// Checks the schedule against a run of `epochs`.
    ///
    /// # Errors
    /// [`Error::Usage`] for a schedule that ends before the run, a warm-up that is negative or longer than the
    /// schedule, a decay every 0 epochs, or a factor outside (0, 1].
    pub fn check(&self, epochs: u64) -> Result<()> {
        let end = self.start.saturating_add(epochs);
        let whole = self.epochs.unwrap_or(end);
        if whole < end {
            return Err(Error::Usage(format!(
                "a schedule of {whole} epochs ends before a run of {epochs} epochs that begins after {}",
                self.start
            )));
        }
        if !(0.0..=whole as f64).contains(&self.warmup) {
            return Err(Error::Usage(format!(
                "a warm-up of {} epochs does not fit a schedule of {whole}",
                self.warmup
            )));
        }
        if let Decay::Step { every, gamma } = self.decay {
            if every == 0 {
                return Err(Error::Usage("a step decay needs at least 1 epoch".into()));
            }
            if !(gamma > 0.0 && gamma <= 1.0) {
                return Err(Error::Usage(format!(
                    "a step decay by {gamma} is not in (0, 1]"
                )));
            }
        }
        Ok(())
    }

    /// The rate of `step` (from 0, over the whole run) in a run of `epochs * steps_per_epoch`
    /// steps. The warm-up's last step is the first with the full rate.
    pub fn rate(&self, base: f64, step: u64, steps_per_epoch: u64, epochs: u64) -> f64 {
        let step = self.start * steps_per_epoch + step;
        let epochs = self.epochs.unwrap_or(self.start + epochs);
        let warmup = (self.warmup * steps_per_epoch as f64).round();
        let position = step as f64;
        let warm = if position < warmup {
            (position + 1.0) / warmup
        } else {
            1.0
        };
        let decay = match self.decay {
            Decay::Constant => 1.0,
            Decay::Step { every, gamma } => {
                let epoch = step / steps_per_epoch.max(1);
                gamma.powf((epoch / every.max(1)) as f64)
            }
            Decay::Cosine => {
                let length = ((epochs * steps_per_epoch) as f64 - warmup).max(1.0);
                let done = ((position - warmup) / length).clamp(0.0, 1.0);
                0.5 * (1.0 + (std::f64::consts::PI * done).cos())
            }
        };
        base * warm * decay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(warmup: f64, decay: Decay) -> Schedule {
        Schedule {
            warmup,
            decay,
            ..Schedule::default()
        }
    }

    /// The rates of a run of 10 epochs of 4 steps.
    fn rates(schedule: Schedule) -> Vec<f64> {
        (0..40)
            .map(|step| schedule.rate(0.2, step, 4, 10))
            .collect()
    }

    fn assert_close(rates: &[f64], expected: impl Fn(f64) -> f64) {
        for (step, &rate) in rates.iter().enumerate() {
            let expected = expected(step as f64);
            assert!((rate - expected).abs() < 1e-12, "{step}: {rate} {expected}");
        }
    }

    #[test]
    fn a_constant_schedule_is_constant() {
        let decay = Decay::Constant;
        assert_close(&rates(schedule(0.0, decay)), |_| 0.2);
    }

    #[test]
    fn warm_up_rises_in_equal_steps_to_the_base_rate() {
        let decay = Decay::Constant;
        let rates = rates(schedule(1.5, decay));
        assert_close(&rates, |step| 0.2 * ((step + 1.0) / 6.0).min(1.0));
        assert_eq!(rates[5], 0.2);
    }

    #[test]
    fn step_decay_falls_after_every_n_epochs() {
        let (every, gamma) = (3, 0.1);
        let decay = Decay::Step { every, gamma };
        let rates = rates(schedule(0.0, decay));
        assert_close(&rates, |step| match step as u32 {
            0..12 => 0.2,
            12..24 => 0.02,
            24..36 => 0.002,
            _ => 0.0002,
        });
    }

    #[test]
    fn cosine_goes_from_the_base_rate_to_zero_after_the_warm_up() {
        let decay = Decay::Cosine;
        let rates = rates(schedule(2.0, decay));
        let expected = |step: f64| match step {
            step if step < 8.0 => 0.2 * (step + 1.0) / 8.0,
            step => 0.1 * (1.0 + (std::f64::consts::PI * (step - 8.0) / 32.0).cos()),
        };
        assert_close(&rates, expected);
        assert_eq!((rates[8], rates[24]), (0.2, 0.1));
        let end = schedule(2.0, decay).rate(0.2, 40, 4, 10);
        assert!(end.abs() < 1e-15);
    }

    #[test]
    fn runs_that_share_a_schedule_have_the_rates_of_one_run() {
        for decay in [
            Decay::Cosine,
            Decay::Step {
                every: 3,
                gamma: 0.1,
            },
        ] {
            let whole = schedule(1.5, decay);
            let rates = rates(whole);
            for (start, run) in [(0, 1), (1, 4), (5, 5)] {
                let part = Schedule {
                    start,
                    epochs: Some(10),
                    ..whole
                };
                part.check(run).unwrap();
                let rate = |step| part.rate(0.2, step, 4, run);
                let expected = &rates[4 * start as usize..][..4 * run as usize];
                assert!((0..4 * run).map(rate).eq(expected.iter().copied()));
            }
        }
    }

    #[test]
    fn invalid_schedules_are_refused() {
        let step = |every, gamma| Decay::Step { every, gamma };
        for (warmup, decay) in [
            (11.0, Decay::Constant),
            (-1.0, Decay::Cosine),
            (f64::NAN, Decay::Cosine),
            (0.0, step(0, 0.1)),
            (0.0, step(1, 0.0)),
            (0.0, step(1, 1.5)),
        ] {
            let error = schedule(warmup, decay).check(10).unwrap_err();
            assert_eq!(error.exit_code(), 2);
        }
        let decay = step(3, 0.1);
        assert!(schedule(10.0, decay).check(10).is_ok());
        let epochs = |start, epochs| Schedule {
            start,
            epochs: Some(epochs),
            ..Schedule::default()
        };
        assert!(epochs(5, 15).check(10).is_ok());
        assert_eq!(epochs(5, 14).check(10).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn a_schedule_round_trips_through_toml() {
        let (every, gamma) = (30, 0.1);
        for decay in [Decay::Constant, Decay::Cosine, Decay::Step { every, gamma }] {
            let schedule = Schedule {
                start: 3,
                epochs: Some(30),
                ..schedule(2.5, decay)
            };
            let text = toml::to_string(&schedule).unwrap();
            assert_eq!(
                toml::from_str::<Schedule>(&text).unwrap(),
                schedule,
                "{text}"
            );
        }
    }
}
