//! Timing of repeated runs: median and spread.

use std::time::{Duration, Instant};

use base::Result;
use candle_core::Device;

/// Time and number of runs of a workload; both are lower bounds.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Runs start until this time is over,
    pub seconds: f64,
    /// and until there are this many.
    pub runs: usize,
}

/// Run times in seconds, ascending; at least one.
#[derive(Clone, Debug)]
pub struct Timing(Vec<f64>);

impl Timing {
    /// Runs once to warm up, then times. A run ends when the device has done its work.
    pub fn measure(
        budget: Budget,
        device: &Device,
        mut run: impl FnMut() -> Result<()>,
    ) -> Result<Self> {
        let mut once = || {
            let start = Instant::now();
            run()?;
            device.synchronize()?;
            Ok(start.elapsed())
        };
        once()?;
        let start = Instant::now();
        let mut seconds = Vec::new();
        while seconds.is_empty()
            || seconds.len() < budget.runs
            || start.elapsed().as_secs_f64() < budget.seconds
        {
            // A clock may be too coarse for a short run.
            let took: Result<Duration> = once();
            seconds.push(took?.max(Duration::from_nanos(1)).as_secs_f64());
        }
        seconds.sort_by(f64::total_cmp);
        Ok(Self(seconds))
    }

    /// Timed runs.
    pub fn runs(&self) -> usize {
        self.0.len()
    }

    /// Median run time in seconds.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// Interquartile range over the median; robust against single disturbed runs.
    pub fn spread(&self) -> f64 {
        (self.quantile(0.75) - self.quantile(0.25)) / self.median()
    }

    /// Quantile by linear interpolation.
    fn quantile(&self, part: f64) -> f64 {
        let position = part * (self.0.len() - 1) as f64;
        let (below, above) = (
            self.0[position.floor() as usize],
            self.0[position.ceil() as usize],
        );
        below + (above - below) * position.fract()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_and_quartiles_are_those_of_the_runs() {
        let odd = Timing(vec![1.0, 2.0, 4.0, 5.0, 99.0]);
        assert_eq!((odd.runs(), odd.median(), odd.spread()), (5, 4.0, 0.75));
        let even = Timing(vec![1.0, 3.0]);
        assert_eq!((even.median(), even.spread()), (2.0, 0.5));
        let one = Timing(vec![3.0]);
        assert_eq!((one.median(), one.spread()), (3.0, 0.0));
    }

    #[test]
    fn the_warm_up_is_not_timed_and_the_least_number_of_runs_is_kept() {
        let mut times = 0;
        let budget = Budget {
            seconds: 0.0,
            runs: 4,
        };
        let timing = Timing::measure(budget, &Device::Cpu, || {
            times += 1;
            Ok(())
        });
        assert_eq!((timing.unwrap().runs(), times), (4, 5));
    }
}
