//! Log lines of a training: its plan and its epochs.

use base::log;
use nn::device;

use super::TrainingRun;
use crate::metrics::EpochMetrics;

/// Logs what the run will do.
pub fn log_plan(run: &TrainingRun) {
    let config = &run.config;
    let (train, val) = (run.train.len(), run.val.len());
    log::info(format_args!(
        "{} on {}: {train} training and {val} validation images, {} epochs of {} steps \
         of {}, {}, seed {}, into {}",
        config.method.name(),
        device::describe(&run.device),
        config.epochs,
        train.div_ceil(config.batch_size),
        config.batch_size,
        run.step.model().describe(),
        config.seed,
        run.folder.display()
    ));
    if let (Some(sampling), Some(sampler)) = (&config.sampling, &run.sampler) {
        log::info(format_args!(
            "draws: adversarial share {}, policy {}, of {}",
            sampling.adv_ratio,
            sampling.policy,
            sampler.attacks().join(", ")
        ));
    }
}

/// Logs an epoch in one line.
pub fn log_epoch(line: &EpochMetrics, epochs: u32) {
    let percent = |part: f64| format!("{:.1}%", 100.0 * part);
    let mut text = format!(
        "epoch {}/{epochs}: loss {:.3}, train {}, val clean {}",
        line.epoch,
        line.train.loss,
        percent(line.train.accuracy),
        line.val.clean.map_or("–".into(), percent)
    );
    if let Some(mixed) = line.val.mixed {
        text += &format!(", mixed {}", percent(mixed));
    }
    if let Some(robust) = line.val.robust {
        text += &format!(", under attack {}", percent(robust));
    }
    if let Some(detector) = line.val.detector {
        text += &format!(", detector {}", percent(detector.accuracy));
    }
    let best = if line.best { ", best so far" } else { "" };
    log::info(format_args!("{text}, {:.1} s{best}", line.seconds));
}
