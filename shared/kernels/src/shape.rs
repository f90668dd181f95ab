//! Sizes of convolutions and of the images they work on.

/// Sizes of a batch of images `[images, height, width, channels]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NhwcShape {
    /// Images.
    pub images: usize,
    /// Rows of an image.
    pub height: usize,
    /// Columns of an image.
    pub width: usize,
    /// Numbers at each position.
    pub channels: usize,
}

impl NhwcShape {
    /// The same positions with other channels.
    pub fn with_channels(self, channels: usize) -> Self {
        Self { channels, ..self }
    }

    /// Numbers in the batch.
    pub fn numel(&self) -> usize {
        self.images * self.image_numel()
    }

    /// Numbers in an image.
    pub fn image_numel(&self) -> usize {
        self.positions() * self.channels
    }

    /// Positions in an image.
    pub fn positions(&self) -> usize {
        self.height * self.width
    }
}

/// A two-dimensional convolution with a square kernel and zeros around its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvShape {
    /// What comes in.
    pub input: NhwcShape,
    /// Output channels.
    pub c_out: usize,
    /// Rows and columns of the kernel.
    pub kernel: usize,
    /// Step of the window.
    pub stride: usize,
    /// Zeros on each side; less than `kernel`.
    pub padding: usize,
}

impl ConvShape {
    /// What goes out.
    pub fn output(&self) -> NhwcShape {
        let size = |size: usize| (size + 2 * self.padding - self.kernel) / self.stride + 1;
        NhwcShape {
            height: size(self.input.height),
            width: size(self.input.width),
            ..self.input.with_channels(self.c_out)
        }
    }

    /// Numbers in the weight `[c_out, c_in, kernel, kernel]`.
    pub fn weight_numel(&self) -> usize {
        self.c_out * self.input.channels * self.kernel * self.kernel
    }
}
