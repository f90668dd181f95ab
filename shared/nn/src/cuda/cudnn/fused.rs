//! Choice between one kernel for all of a task and several for its parts.

use candle_core::Result;

use super::{Cudnn, Task, plan::NamedAddress, timing::Timer};

impl Cudnn {
    /// Runs a task by one plan or, where cuDNN has none or it is slower, by `separately`. Both are measured the first time, and
    /// the choice is kept with those of plans. Where runs must repeat to the bit, no time decides: `separately`.
    ///
    /// # Safety
    /// That of [`Self::run`]. `separately` computes the same, as often as it is called.
    pub unsafe fn run_fused(
        &mut self,
        task: &Task,
        operands: &[NamedAddress],
        separately: impl Fn(&mut Self) -> Result<()>,
    ) -> Result<()> {
        if task.options().deterministic || self.method_is("separate") {
            return separately(self);
        }
        let is_decided = self.method_is("fused");
        let is_new = !self.chosen.contains_key(task);
        // The file's names of tasks take longer to write than a launch takes.
        let known = if is_new { self.cache.get(task) } else { None };
        if known == Some(None) && !is_decided {
            self.chosen.insert(*task, None);
        }
        // SAFETY: as the caller promises.
        if !unsafe { self.run(task, operands) }? {
            return separately(self);
        }
        if !is_new || known.is_some() || is_decided {
            return Ok(());
        }
        let timer = Timer::new(&self.device)?;
        // SAFETY: as the caller promises.
        let fused = || unsafe { self.run(task, operands) }.map(drop);
        let fused = timer.fastest(f32::INFINITY, fused)?;
        if timer.fastest(fused, || separately(self))? <= fused {
            self.cache.insert(task, None);
            self.chosen.insert(*task, None);
        }
        Ok(())
    }
}
