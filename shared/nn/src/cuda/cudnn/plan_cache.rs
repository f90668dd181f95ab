//! File of measured choices of plans, by device, driver and version of cuDNN: a program reads it once and adds
//! what it measures. It only saves time: a choice that no longer fits is measured again.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    fmt::Display,
    path::{Path, PathBuf},
};

use candle_core::{
    Error, Result,
    cuda_backend::{
        CudaDevice,
        cudarc::{cudnn::result::get_version, driver::sys as driver},
    },
};
use serde::{Deserialize, Serialize};

use super::engines::ConfigId;
use base::{files, log};

/// Names the file; empty: no file.
const VARIABLE: &str = "MITHRIDATE_PLAN_CACHE";
/// The file's own name for what it is.
const FORMAT: &str = "mithridate plans 1";

/// The configuration of a plan, or none where several kernels are faster than one for all of a task.
type Choice = Option<ConfigId>;
/// A device's choices by task.
type Choices = BTreeMap<String, Choice>;

/// The file.
#[derive(Serialize, Deserialize)]
struct PlanFile {
    format: String,
    devices: BTreeMap<String, Choices>,
}

/// The choices for one device.
#[derive(Debug)]
pub struct PlanCache {
    path: Option<PathBuf>,
    device: String,
    choices: Choices,
    /// Whether a warning has said that the file is not one of ours.
    warned: bool,
}

impl PlanCache {
    /// Of a device, from the file that the environment names.
    pub fn of(device: &CudaDevice) -> Result<Self> {
        let context = device.cuda_stream().context().clone();
        let mut version = 0;
        // SAFETY: there is space for the version.
        unsafe { driver::cuDriverGetVersion(&mut version) }
            .result()
            .map_err(Error::wrap)?;
        let name = context.name().map_err(Error::wrap)?;
        let device = format!("{name}, driver {version}, cuDNN {}", get_version());
        Ok(Self::open(path(|name| env::var_os(name)), device))
    }

    /// Reads the file, if there is one.
    pub fn open(path: Option<PathBuf>, device: String) -> Self {
        let mut cache = Self {
            path,
            device,
            choices: Choices::new(),
            warned: false,
        };
        if let Some(path) = cache.path.clone() {
            let mut devices = cache.read(&path);
            cache.choices = devices.remove(&cache.device).unwrap_or_default();
        }
        cache
    }

    /// The choice for a task.
    pub fn get(&self, task: &impl Display) -> Option<Choice> {
        self.choices.get(&task.to_string()).copied()
    }

    /// Keeps a choice, in the file too, beside what other processes have added to it. If it cannot be written, a
    /// warning says so, and it is not tried again.
    pub fn insert(&mut self, task: &impl Display, choice: Choice) {
        self.choices.insert(task.to_string(), choice);
        let Some(path) = self.path.clone() else {
            return;
        };
        if let Err(reason) = self.write(&path) {
            log::warning(format_args!("measured plans are not kept: {reason}"));
            self.path = None;
        }
    }

    /// All devices' choices; none if the file is not one of ours, of which one warning tells.
    fn read(&mut self, path: &Path) -> BTreeMap<String, Choices> {
        read(path).unwrap_or_else(|found| {
            if !std::mem::replace(&mut self.warned, true) {
                log::warning(format_args!(
                    "{}: found {found}, expected '{FORMAT}': it is ignored and replaced",
                    path.display()
                ));
            }
            BTreeMap::new()
        })
    }

    fn write(&mut self, path: &Path) -> base::Result<()> {
        let mut devices = self.read(path);
        let choices = devices.entry(self.device.clone()).or_default();
        choices.extend(
            self.choices
                .iter()
                .map(|(key, choice)| (key.clone(), *choice)),
        );
        let file = PlanFile {
            format: FORMAT.into(),
            devices,
        };
        files::create_folder(&files::folder_of(path))?;
        let text = serde_json::to_string_pretty(&file).unwrap_or_default();
        files::write_whole(path, text.as_bytes())
    }
}

/// The file's place, by the environment's variables.
fn path(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    if let Some(path) = variable(VARIABLE) {
        return (!path.is_empty()).then(|| path.into());
    }
    let set = |name| variable(name).filter(|value| !value.is_empty());
    let folder = match set("XDG_CACHE_HOME") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(set("HOME")?).join(".cache"),
    };
    Some(folder.join("mithridate").join("plans.json"))
}

/// All devices' choices.
///
/// # Errors
/// What was found instead of such a file.
fn read(path: &Path) -> std::result::Result<BTreeMap<String, Choices>, String> {
    if !path.exists() {
        return Ok(BTreeMap::new());
    }
    let bytes = files::read(path).map_err(|error| error.to_string())?;
    let file: PlanFile = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    if file.format == FORMAT {
        Ok(file.devices)
    } else {
        Err(format!("format '{}'", file.format))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::engines::HeuristicsMode, *};

    fn problem(images: usize) -> String {
        format!("a convolution of {images} images")
    }

    fn id(rank: usize) -> Choice {
        Some(ConfigId {
            mode: HeuristicsMode::A,
            rank,
            engine: 7,
        })
    }

    fn open(path: &Path, device: &str) -> PlanCache {
        PlanCache::open(Some(path.into()), device.into())
    }

    #[test]
    fn the_plan_cache_is_kept_in_a_file_by_device_and_shared_by_processes() {
        let folder = std::env::temp_dir().join(format!("plans-{}", std::process::id()));
        let path = folder.join("deep").join("plans.json");
        let (mut one, mut two) = (open(&path, "a"), open(&path, "a"));
        assert_eq!(one.get(&problem(1)), None);
        one.insert(&problem(1), id(3));
        two.insert(&problem(2), id(4));
        two.insert(&problem(3), None);
        let again = open(&path, "a");
        assert_eq!(again.get(&problem(1)), Some(id(3)));
        assert_eq!(again.get(&problem(2)), Some(id(4)));
        assert_eq!(again.get(&problem(3)), Some(None));
        assert_eq!(open(&path, "another device").get(&problem(1)), None);

        for damaged in ["{", "", "{\"format\": \"else\", \"devices\": {}}", "\u{0}"] {
            std::fs::write(&path, damaged).unwrap();
            let mut cache = open(&path, "a");
            assert_eq!(cache.get(&problem(1)), None);
            cache.insert(&problem(1), id(5));
            assert_eq!(open(&path, "a").get(&problem(1)), Some(id(5)));
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_plan_cache_that_cannot_be_written_is_kept_in_memory() {
        let mut cache = open(Path::new("/dev/null/plans.json"), "a");
        cache.insert(&problem(1), id(1));
        cache.insert(&problem(2), id(2));
        assert_eq!(cache.get(&problem(2)), Some(id(2)));
        assert!(cache.path.is_none());
    }

    #[test]
    fn the_place_of_the_plan_cache_is_named_by_the_environment() {
        let place = |set: &[(&str, &str)]| {
            let set: BTreeMap<_, _> = set.iter().copied().collect();
            path(|name| set.get(name).map(OsString::from))
        };
        let home = ("HOME", "/h");
        let file = |path: &str| Some(PathBuf::from(path));
        assert_eq!(place(&[home]), file("/h/.cache/mithridate/plans.json"));
        let xdg = ("XDG_CACHE_HOME", "/c");
        assert_eq!(place(&[home, xdg]), file("/c/mithridate/plans.json"));
        assert_eq!(place(&[xdg, (VARIABLE, "/p.json")]), file("/p.json"));
        assert_eq!(place(&[home, (VARIABLE, "")]), None);
        assert_eq!(place(&[]), None);
    }
}
