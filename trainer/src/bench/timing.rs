//! Timing: something to run comes in, how long its runs took goes out.

use std::time::{Duration, Instant};

use base::Result;
use candle_core::Device;

/// How long and how often something is run.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Runs begin until this time is over,
    pub seconds: f64,
    /// and until there were so many of them.
    pub runs: usize,
}

/// Seconds that runs took, in ascending order; at least one.
#[derive(Clone, Debug)]
pub struct Timing(Vec<f64>);

impl Timing {
    /// Runs once to warm up, then measures. Work that a device was only asked to do counts until
    /// it is done.
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
            // A clock may be too coarse to see a short run.
            let took: Result<Duration> = once();
            seconds.push(took?.max(Duration::from_nanos(1)).as_secs_f64());
        }
        seconds.sort_by(f64::total_cmp);
        Ok(Self(seconds))
    }

    /// Runs that were measured.
    pub fn runs(&self) -> usize {
        self.0.len()
    }

    /// Seconds of the run in the middle.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// How far the quartiles lie apart, as a part of the median: half of the runs lie between them,
    /// whatever a single run was disturbed by.
    pub fn spread(&self) -> f64 {
        (self.quantile(0.75) - self.quantile(0.25)) / self.median()
    }

    /// What lies at this part of the way from the shortest to the longest run.
    fn quantile(&self, part: f64) -> f64 {
        let place = part * (self.0.len() - 1) as f64;
        let (below, above) = (
            self.0[place.floor() as usize],
            self.0[place.ceil() as usize],
        );
        below + (above - below) * place.fract()
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
    fn the_warm_up_is_not_counted_and_the_least_number_of_runs_is_kept() {
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
