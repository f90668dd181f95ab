//! Unpacking: a packed file into a store of the same content, or nothing.

use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use super::{
    super::{file::StoreFile, session::WriteSession},
    BLOCK_IMAGES, MAGIC, PackedHeader, VERSION,
    block::Block,
    reader::PackedReader,
};
use base::{Error, Result, files};
use data::Split;

/// The longest header that is read.
const MAX_HEADER_BYTES: u64 = 1 << 20;
/// The longest weights that are read.
const MAX_WEIGHTS_BYTES: u64 = 1 << 32;

/// A packed store, of which header and weights are read.
pub struct PackedStore {
    path: PathBuf,
    header: PackedHeader,
    frame: zstd::Decoder<'static, BufReader<File>>,
}

impl PackedStore {
    /// Opens the packed store at `path`.
    ///
    /// # Errors
    /// [`Error::Data`] and [`Error::Invalid`] when the file is no packed store of this version.
    pub fn open(path: &Path) -> Result<Self> {
        files::check_is_file(path)?;
        let mut file = BufReader::new(File::open(path).map_err(Error::io("read", path))?);
        let start: [u8; MAGIC.len() + 1] = PackedReader::new(path, &mut file).array()?;
        if start[..MAGIC.len()] != *MAGIC || start[MAGIC.len()] != VERSION {
            let expected = format!("a packed store of version {VERSION}");
            return Err(Error::data(path.display(), "other bytes", expected));
        }
        let frame = zstd::Decoder::with_buffer(file).map_err(Error::io("read", path))?;
        let mut frame = frame.single_frame();
        let mut input = PackedReader::new(path, &mut frame);
        let json = input.sized(MAX_HEADER_BYTES, "header")?;
        let mut header: PackedHeader = serde_json::from_slice(&json).map_err(|reason| {
            let what = format!("{}: header", path.display());
            Error::invalid(what, format!("no packed store's: {reason}"))
        })?;
        header.spec.model.weights = input.sized(MAX_WEIGHTS_BYTES, "weights")?;
        Ok(Self {
            path: path.to_path_buf(),
            header,
            frame,
        })
    }

    /// Images of all splits.
    pub fn image_count(&self) -> u64 {
        self.header.spec.image_count()
    }

    /// Restores the store at `out` and returns its content hash. After every block, `progress` is called
    /// with its number of images; an error that it returns ends the work.
    ///
    /// # Errors
    /// [`Error::Data`] and [`Error::Invalid`] when the file is damaged or its content is not that of the
    /// header; nothing is left at `out` then.
    pub fn unpack(
        mut self,
        out: &Path,
        progress: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<String> {
        let partial = files::partial(out);
        let file = StoreFile::canonical(&partial)?;
        file.remove()?;
        match self.write_store(&file, progress) {
            Ok(hash) => {
                // The journal of a store that is replaced would be rolled back into the new one.
                files::remove(&StoreFile::as_given(out).journal())?;
                files::rename(&partial, out)?;
                Ok(hash)
            }
            Err(error) => {
                file.remove()?;
                Err(error.renamed(file.path(), &self.path))
            }
        }
    }

    fn write_store(
        &mut self,
        file: &StoreFile,
        progress: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<String> {
        let PackedHeader {
            spec,
            device,
            content_hash,
            warnings,
        } = &self.header;
        let mut session = WriteSession::create_or_resume(file.path(), spec, device)?;
        let attacks: Vec<i64> = spec.attacks.iter().map(|attack| attack.id).collect();
        let mut input = PackedReader::new(&self.path, &mut self.frame);
        for split in Split::ALL {
            let mut left = spec.images[split as usize];
            while left > 0 {
                let count = left.min(BLOCK_IMAGES as u64);
                let (images, samples) = Block::read(&mut input, split, count as usize, &attacks)?;
                session.insert(&images, &samples)?;
                progress(count)?;
                left -= count;
            }
        }
        // Reads the checksum too.
        input.end()?;
        PackedReader::new(&self.path, self.frame.get_mut()).end()?;
        session.add_warnings(warnings)?;
        let found = session.finish(None)?;
        if found != *content_hash {
            let what = format!("{}: content hash", self.path.display());
            return Err(Error::data(what, found, content_hash));
        }
        Ok(found)
    }
}
