//! Options of `trainer eval` that name the images: a store, arrays, CIFAR-10-C or a data set to corrupt.

use std::path::{Path, PathBuf};

use base::{Error, Result};
use clap::{Args, builder::PossibleValuesParser};
use cli::arguments::positive;
use data::corruptions::{CORRUPTIONS, Corruption, Severity};

/// Word for every computed corruption.
const ALL: &str = "all";

/// Where the images are from: exactly one.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct SourceArguments {
    /// Path of the adversarial store
    #[arg(long, value_name = "DB")]
    db: Option<PathBuf>,
    /// NumPy array of images, bytes [N,32,32,3], such as that of CIFAR-10.1
    #[arg(long, value_name = "X.npy", requires = "labels")]
    images: Option<PathBuf>,
    /// Folder of CIFAR-10-C: NAME.npy for each corruption, and labels.npy
    #[arg(long, value_name = "DIR")]
    cifar10_c: Option<PathBuf>,
    /// Images to corrupt: a data set or an image folder, as for trainer pretrain
    #[arg(long, value_name = "PATH", requires = "corruptions")]
    data: Option<PathBuf>,
}

/// Options of evaluations under distribution shift.
#[derive(Debug, Args)]
pub struct ShiftOptions {
    /// NumPy array of the images' labels
    #[arg(long, value_name = "Y.npy", conflicts_with_all = ["db", "cifar10_c", "data"])]
    labels: Option<PathBuf>,
    /// Corruptions to compute: all, or names separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = names(),
        conflicts_with_all = ["db", "images", "cifar10_c"])]
    corruptions: Vec<String>,
    /// Severities of the computed corruptions, separated by commas [default: 1,2,3,4,5]
    #[arg(long, value_name = "S", value_delimiter = ',', conflicts_with_all = ["db", "images", "cifar10_c"])]
    severity: Vec<Severity>,
    /// Use only N images, a multiple of the class count and balanced over the classes
    #[arg(long, value_name = "N", value_parser = positive, conflicts_with = "db")]
    pub limit: Option<usize>,
    /// Seed of the noise, of the choice of --limit and of the split of --data
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "db")]
    pub seed: u64,
}

/// The names of the corruptions that are computed.
fn names() -> PossibleValuesParser {
    let computed = Corruption::all_computed().map(|(row, _)| row.name);
    PossibleValuesParser::new(std::iter::once(ALL).chain(computed))
}

/// The images that a command line names.
pub enum Images<'a> {
    /// Of a store.
    Store(&'a Path),
    /// Arrays of images and labels.
    Arrays(&'a Path, &'a Path),
    /// The folder of CIFAR-10-C.
    Cifar10C(&'a Path),
    /// A data set, the corruptions and the severities.
    Data(&'a Path, Vec<&'static Corruption>, Vec<Severity>),
}

impl SourceArguments {
    /// The one that is given.
    ///
    /// # Errors
    /// [`Error::Usage`] for none.
    pub fn chosen<'a>(&'a self, options: &'a ShiftOptions) -> Result<Images<'a>> {
        match (&self.db, &self.images, &self.cifar10_c, &self.data) {
            (Some(db), ..) => Ok(Images::Store(db)),
            (_, Some(images), ..) => {
                let labels = options.labels.as_deref();
                let labels =
                    labels.ok_or_else(|| Error::Usage("--images needs --labels".into()))?;
                Ok(Images::Arrays(images, labels))
            }
            (.., Some(folder), _) => Ok(Images::Cifar10C(folder)),
            (.., Some(data)) => Ok(Images::Data(data, options.rows(), options.severities())),
            _ => Err(Error::Usage(
                "--db, --images, --cifar10-c or --data is needed".into(),
            )),
        }
    }
}

impl ShiftOptions {
    /// The corruptions to compute, in the order of the table.
    fn rows(&self) -> Vec<&'static Corruption> {
        let named = |name: &str| self.corruptions.iter().any(|given| given == name);
        let wanted = |row: &&Corruption| row.computed.is_some() && (named(ALL) || named(row.name));
        CORRUPTIONS.iter().filter(wanted).collect()
    }

    /// The severities to compute, ascending.
    fn severities(&self) -> Vec<Severity> {
        let wanted =
            |severity: &Severity| self.severity.is_empty() || self.severity.contains(severity);
        Severity::ALL.into_iter().filter(wanted).collect()
    }
}
