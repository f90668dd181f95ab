//! Ranges of a run's settings that no type has.

use base::{Error, Result};

use super::{Config, Optimizer, Select};

impl Config {
    /// Checks ranges that no type has.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the setting, its value and its range.
    pub fn check(&self) -> Result<()> {
        let Optimizer {
            lr,
            momentum,
            weight_decay,
            clip_norm,
            label_smoothing,
            ema,
            ..
        } = self.optimizer;
        let (most, below_1) = (f64::MAX, 1.0_f64.next_down());
        let mut ranges = vec![
            ("epochs", f64::from(self.epochs), 1.0, most),
            ("batch_size", self.batch_size as f64, 1.0, most),
            ("optimizer.lr", lr, 0.0, most),
            ("optimizer.momentum", momentum, 0.0, most),
            ("optimizer.weight_decay", weight_decay, 0.0, most),
            ("optimizer.label_smoothing", label_smoothing, 0.0, 1.0),
        ];
        ranges.extend(clip_norm.map(|n| ("optimizer.clip_norm", n, f64::MIN_POSITIVE, most)));
        ranges.extend(ema.map(|decay| ("optimizer.ema", decay, 0.0, below_1)));
        let redraw_every = self.sampling.as_ref().and_then(|s| s.redraw_every);
        ranges.extend(redraw_every.map(|n| ("sampling.redraw_every", n as f64, 1.0, most)));
        if let Some(joint) = &self.joint {
            ranges.extend([
                ("joint.alpha", joint.alpha, 0.0, most),
                ("joint.beta", joint.beta, 0.0, most),
                ("joint.detector_lr", joint.detector_lr, 0.0, most),
                ("joint.dropout", joint.dropout, 0.0, below_1),
            ]);
        }
        if let Some(perturbation) = &self.perturbation {
            ranges.push(("perturbation.steps", perturbation.steps.into(), 1.0, most));
            let beta = perturbation.beta;
            ranges.extend(beta.map(|beta| ("perturbation.beta", beta, 0.0, most)));
            let awp = perturbation.awp;
            ranges.extend(awp.map(|awp| ("perturbation.awp", awp, f64::MIN_POSITIVE, most)));
            let reset = perturbation.reset.map(f64::from);
            ranges.extend(reset.map(|reset| ("perturbation.reset", reset, 1.0, most)));
        }
        if let Some(robust) = &self.robust_val {
            ranges.push(("robust_val.images", robust.images as f64, 1.0, most));
            ranges.push(("robust_val.steps", robust.steps.into(), 1.0, most));
        }
        for (name, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                let range = match most {
                    f64::MAX if least == f64::MIN_POSITIVE => "a number above 0".into(),
                    f64::MAX => format!("at least {least}"),
                    _ if most == below_1 => format!("at least {least} and below 1"),
                    _ => format!("{least} to {most}"),
                };
                return Err(Error::Usage(format!(
                    "{name}: found {value}, expected {range}"
                )));
            }
        }
        if self.select == Select::Robust && self.robust_val.is_none() {
            return Err(Error::Usage(
                "--select robust: it needs the accuracy under attack; add --robust-val N".into(),
            ));
        }
        self.augment.check()?;
        self.optimizer.schedule.check(u64::from(self.epochs))
    }
}
