//! Shapes of NHWC image batches and of convolutions on them.

/// Shape of a batch of images, `[images, height, width, channels]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NhwcShape {
    /// Number of images.
    pub images: usize,
    /// Height of an image.
    pub height: usize,
    /// Width of an image.
    pub width: usize,
    /// Channels.
    pub channels: usize,
}

impl NhwcShape {
    /// The same shape with another channel count.
    pub fn with_channels(self, channels: usize) -> Self {
        Self { channels, ..self }
    }

    /// Elements of the batch.
    pub fn numel(&self) -> usize {
        self.images * self.image_numel()
    }

    /// Elements of an image.
    pub fn image_numel(&self) -> usize {
        self.positions() * self.channels
    }

    /// Positions (pixels) of an image.
    pub fn positions(&self) -> usize {
        self.height * self.width
    }
}

/// Shape of a two-dimensional convolution with a square kernel and zero padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvShape {
    /// Input shape.
    pub input: NhwcShape,
    /// Output channels.
    pub c_out: usize,
    /// Kernel height and width.
    pub kernel: usize,
    /// Stride.
    pub stride: usize,
    /// Padding on each side; less than `kernel`.
    pub padding: usize,
}

impl ConvShape {
    /// Output shape.
    pub fn output(&self) -> NhwcShape {
        let size = |size: usize| (size + 2 * self.padding - self.kernel) / self.stride + 1;
        NhwcShape {
            height: size(self.input.height),
            width: size(self.input.width),
            ..self.input.with_channels(self.c_out)
        }
    }

    /// Elements of the weight `[c_out, c_in, kernel, kernel]`.
    pub fn weight_numel(&self) -> usize {
        self.c_out * self.input.channels * self.kernel * self.kernel
    }
}
