//! Resumable table of an evaluation: a CSV file that grows by whole rows, one for each image and budget. A killed
//! program leaves at most part of its last line, which is removed; what is missing is computed again.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::Write,
    ops::Range,
    path::{Path, PathBuf},
};

use base::{Error, Result, files, progress::Progress};

/// Columns that tell an image from others.
const IDENTITY: usize = 4;

/// Rows by (position of the image, number of the budget): the row's last columns.
pub type Rows = BTreeMap<(usize, usize), Vec<String>>;

/// What identifies a row: its first columns as text, by position and budget.
pub struct Keys {
    /// Name of the key's columns.
    pub header: String,
    /// For each image the columns that tell it, `split,source_index,label,clean_pred`, and what was measured of it clean,
    /// which may differ in its last bits from what the table has.
    pub images: Vec<String>,
    /// For each budget its value.
    pub budgets: Vec<String>,
}

/// A table that is being filled.
pub struct RowTable {
    path: PathBuf,
    file: File,
    header: String,
    rows: Rows,
}

impl RowTable {
    /// Opens or creates a table with these columns after the keys'.
    ///
    /// # Errors
    /// [`Error::Data`] with the number of a line that is none of such a table.
    pub fn open(path: &Path, keys: &Keys, columns: &[String]) -> Result<Self> {
        let header = format!("{},eps,{}\n", keys.header, columns.join(","));
        let text = if path.exists() {
            files::read_text(path)?
        } else {
            String::new()
        };
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let rows = match whole {
            0 => Rows::new(),
            _ => parse(path, &text[..whole], keys, &header, columns.len())?,
        };
        let mut options = OpenOptions::new();
        let file = options
            .append(true)
            .create(true)
            .open(path)
            .map_err(Error::io("write", path))?;
        file.set_len(whole as u64)
            .map_err(Error::io("shorten", path))?;
        let mut table = Self {
            path: path.to_path_buf(),
            file,
            header,
            rows,
        };
        if whole == 0 {
            let header = table.header.clone();
            table.append(&header)?;
        }
        Ok(table)
    }

    /// Reads a table that another program may be filling; `None` where there is none.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn read(path: &Path, keys: &Keys, columns: &[String]) -> Result<Option<Rows>> {
        if !path.exists() {
            return Ok(None);
        }
        let header = format!("{},eps,{}\n", keys.header, columns.join(","));
        let text = files::read_text(path)?;
        match text.rfind('\n') {
            None => Ok(Some(Rows::new())),
            Some(end) => parse(path, &text[..=end], keys, &header, columns.len()).map(Some),
        }
    }

    /// Computes the rows that are missing of images, at most `batch_size` at once, under each budget.
    /// `compute` gets their positions and the budget's number, and returns their last columns and a note for the
    /// progress line.
    pub fn fill(
        &mut self,
        keys: &Keys,
        what: &str,
        (images, batch_size): (Range<usize>, usize),
        mut compute: impl FnMut(&[usize], usize) -> Result<(Vec<Vec<String>>, String)>,
    ) -> Result<()> {
        let missing = |rows: &Rows, images: Range<usize>, eps: usize| -> Vec<usize> {
            images
                .filter(|&image| !rows.contains_key(&(image, eps)))
                .collect()
        };
        let budgets = 0..keys.budgets.len();
        let total = budgets
            .clone()
            .map(|eps| missing(&self.rows, images.clone(), eps).len());
        let mut bar = Progress::new(what, total.sum::<usize>() as u64);
        for start in images.clone().step_by(batch_size) {
            let chunk = start..images.end.min(start.saturating_add(batch_size));
            for eps in budgets.clone() {
                let positions = missing(&self.rows, chunk.clone(), eps);
                if positions.is_empty() {
                    continue;
                }
                let (values, note) = compute(&positions, eps)?;
                let rows = positions
                    .iter()
                    .map(|&position| (position, eps))
                    .zip(values);
                self.add(keys, rows.collect())?;
                bar.add(positions.len() as u64, &note);
            }
        }
        bar.finish();
        Ok(())
    }

    /// Adds rows and waits until they are on the disk.
    fn add(&mut self, keys: &Keys, rows: Rows) -> Result<()> {
        self.append(&lines(keys, &rows))?;
        self.rows.extend(rows);
        Ok(())
    }

    fn append(&mut self, text: &str) -> Result<()> {
        let written = self
            .file
            .write_all(text.as_bytes())
            .and_then(|()| self.file.sync_data());
        written.map_err(Error::io("write", &self.path))
    }
}

/// The whole table as text.
pub fn text(keys: &Keys, columns: &[String], rows: &Rows) -> String {
    format!(
        "{},eps,{}\n{}",
        keys.header,
        columns.join(","),
        lines(keys, rows)
    )
}

fn lines(keys: &Keys, rows: &Rows) -> String {
    let line = |(&(image, eps), values): (&(usize, usize), &Vec<String>)| {
        // The clean values, which do not depend on the budget, stand before it.
        format!(
            "{},{},{}\n",
            keys.images[image],
            keys.budgets[eps],
            values.join(",")
        )
    };
    rows.iter().map(line).collect()
}

fn parse(path: &Path, text: &str, keys: &Keys, header: &str, columns: usize) -> Result<Rows> {
    let wrong = |line: usize, found: &str, expected: &str| {
        Error::data(format!("{}, line {line}", path.display()), found, expected)
    };
    let mut lines = text
        .lines()
        .enumerate()
        .map(|(number, line)| (number + 1, line));
    let (_, first) = lines.next().unwrap_or((1, ""));
    if first != header.trim_end() {
        return Err(wrong(1, first, header.trim_end()));
    }
    let images = keys.images.iter().enumerate();
    let images: BTreeMap<Vec<&str>, usize> = images
        .map(|(i, key)| (key.split(',').take(IDENTITY).collect(), i))
        .collect();
    let mut rows = Rows::new();
    for (number, line) in lines {
        let parts: Vec<&str> = line.split(',').collect();
        let key_parts = parts.len().checked_sub(columns + 1);
        let row = key_parts.filter(|&count| count > 0).and_then(|count| {
            let image = *images.get(&parts[..count.min(IDENTITY)])?;
            let eps = keys.budgets.iter().position(|eps| *eps == parts[count])?;
            Some((
                (image, eps),
                parts[count + 1..]
                    .iter()
                    .map(|part| part.to_string())
                    .collect(),
            ))
        });
        let Some((key, values)) = row else {
            return Err(wrong(number, line, "a row of this evaluation"));
        };
        if rows.insert(key, values).is_some() {
            return Err(wrong(number, line, "each image and budget once"));
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Keys {
        Keys {
            header: "split,source_index,label,clean_pred".into(),
            images: ["test,4,0,0", "test,9,1,3"].map(String::from).to_vec(),
            budgets: ["0.5", "1"].map(String::from).to_vec(),
        }
    }

    #[test]
    fn a_table_goes_on_after_a_partial_line_and_keeps_whole_rows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        let (keys, columns) = (keys(), ["pgd".to_string(), "robust".into()]);
        let row = || vec!["1".to_string(), "1".into()];
        let mut table = RowTable::open(&path, &keys, &columns).unwrap();
        table
            .add(&keys, Rows::from([((0, 0), row()), ((1, 1), row())]))
            .unwrap();
        drop(table);
        let whole = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{whole}test,9,1,3,0.")).unwrap();
        let read = RowTable::read(&path, &keys, &columns).unwrap().unwrap();
        assert_eq!(read.len(), 2);
        let table = RowTable::open(&path, &keys, &columns).unwrap();
        assert_eq!(table.rows, read);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), whole);
        assert_eq!(text(&keys, &columns, &read), whole);
    }

    #[test]
    fn a_table_goes_on_with_clean_scores_of_other_last_bits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        let columns = ["pgd".to_string()];
        let keys = |score: &str| Keys {
            header: "split,source_index,label,clean_pred,clean_score".into(),
            images: vec![format!("test,4,0,0,{score}")],
            budgets: vec!["1".into()],
        };
        let mut table = RowTable::open(&path, &keys("0.25"), &columns).unwrap();
        let rows = Rows::from([((0, 0), vec!["1".to_string()])]);
        table.add(&keys("0.25"), rows.clone()).unwrap();
        let read = RowTable::read(&path, &keys("0.2500001"), &columns).unwrap();
        assert_eq!(read, Some(rows));
    }

    #[test]
    fn a_damaged_table_is_refused_with_the_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        let (keys, columns) = (keys(), ["pgd".to_string()]);
        let header = "split,source_index,label,clean_pred,eps,pgd\n";
        for (text, line) in [
            ("a,b\n".to_string(), 1),
            (format!("{header}test,4,0,0,0.5,1\ntest,5,0,0,0.5,1\n"), 3),
            (format!("{header}test,4,0,0,2,1\n"), 2),
            (format!("{header}test,4,0,0,0.5\n"), 2),
            (format!("{header}test,4,0,0,1,1\ntest,4,0,0,1,1\n"), 3),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = RowTable::open(&path, &keys, &columns).err().unwrap();
            assert_eq!(error.exit_code(), 3);
            assert!(
                error.to_string().contains(&format!("a.csv, line {line}: ")),
                "{error}"
            );
        }
    }
}
