//! Descriptors of cuDNN's backend API: created, filled, finalized, and destroyed when dropped.

use std::ffi::{CStr, c_char, c_void};

use candle_core::{
    Error, Result,
    cuda_backend::cudarc::cudnn::sys::{
        self, cudnnBackendAttributeName_t as Name, cudnnBackendAttributeType_t as Type,
        cudnnBackendDescriptorType_t as Kind,
    },
};

/// A descriptor.
#[derive(Debug)]
#[repr(transparent)]
pub struct Descriptor(sys::cudnnBackendDescriptor_t);

/// A type of attributes' values.
///
/// # Safety
/// The layout is that which cuDNN documents for `TYPE`.
pub unsafe trait AttributeValue {
    /// cuDNN's name of the type.
    const TYPE: Type;
}

/// An address that cuDNN does not read while it is set.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Address(pub *mut c_void);

/// A numerical or behavior note as a number: cuDNN may know more of them than the bindings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct NumericalNote(pub u32);

/// As [`NumericalNote`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct BehaviorNote(pub u32);

macro_rules! attribute_values {
    ($($value:ty: $name:ident),*) => {$(
        // SAFETY: as the manual of `cudnnBackendSetAttribute` lists them.
        unsafe impl AttributeValue for $value {
            const TYPE: Type = Type::$name;
        }
    )*};
}
attribute_values!(
    i64: CUDNN_TYPE_INT64,
    f32: CUDNN_TYPE_FLOAT,
    bool: CUDNN_TYPE_BOOLEAN,
    u8: CUDNN_TYPE_CHAR,
    Address: CUDNN_TYPE_VOID_PTR,
    Descriptor: CUDNN_TYPE_BACKEND_DESCRIPTOR,
    NumericalNote: CUDNN_TYPE_NUMERICAL_NOTE,
    BehaviorNote: CUDNN_TYPE_BEHAVIOR_NOTE,
    sys::cudnnHandle_t: CUDNN_TYPE_HANDLE,
    sys::cudnnDataType_t: CUDNN_TYPE_DATA_TYPE,
    sys::cudnnConvolutionMode_t: CUDNN_TYPE_CONVOLUTION_MODE,
    sys::cudnnPointwiseMode_t: CUDNN_TYPE_POINTWISE_MODE,
    sys::cudnnReduceTensorOp_t: CUDNN_TYPE_REDUCTION_OPERATOR_TYPE,
    sys::cudnnNanPropagation_t: CUDNN_TYPE_NAN_PROPOGATION,
    sys::cudnnBackendHeurMode_t: CUDNN_TYPE_HEUR_MODE
);

impl Descriptor {
    /// An empty descriptor.
    pub fn new(kind: Kind) -> Result<Self> {
        let mut raw = std::ptr::null_mut();
        // SAFETY: there is space for one.
        check(unsafe { sys::cudnnBackendCreateDescriptor(kind, &mut raw) })?;
        Ok(Self(raw))
    }

    /// With an attribute of several values.
    pub fn with_all<T: AttributeValue>(self, name: Name, values: &[T]) -> Result<Self> {
        // SAFETY: the values have the layout of their type.
        check(unsafe {
            sys::cudnnBackendSetAttribute(
                self.0,
                name,
                T::TYPE,
                values.len() as i64,
                values.as_ptr().cast(),
            )
        })?;
        Ok(self)
    }

    /// With an attribute of one value.
    pub fn with<T: AttributeValue>(self, name: Name, value: &T) -> Result<Self> {
        self.with_all(name, std::slice::from_ref(value))
    }

    /// Checked by cuDNN and ready for use.
    pub fn finalized(self) -> Result<Self> {
        // SAFETY: the descriptor is ours.
        check(unsafe { sys::cudnnBackendFinalize(self.0) })?;
        Ok(self)
    }

    /// The number of values of an attribute.
    pub fn count<T: AttributeValue>(&self, name: Name) -> Result<usize> {
        let mut count = 0;
        // SAFETY: no value is asked for.
        check(unsafe {
            sys::cudnnBackendGetAttribute(
                self.0,
                name,
                T::TYPE,
                0,
                &mut count,
                std::ptr::null_mut(),
            )
        })?;
        usize::try_from(count).map_err(Error::wrap)
    }

    /// Writes an attribute's values over `values`, and their count. Values that are descriptors must have
    /// been created, of the right kind.
    pub fn get_all<T: AttributeValue>(&self, name: Name, values: &mut [T]) -> Result<usize> {
        let mut count = 0;
        // SAFETY: there is space for so many, of the layout of their type.
        check(unsafe {
            sys::cudnnBackendGetAttribute(
                self.0,
                name,
                T::TYPE,
                values.len() as i64,
                &mut count,
                values.as_mut_ptr().cast(),
            )
        })?;
        // cuDNN reports how many there are, which may be more than it has written.
        let count = usize::try_from(count).map_err(Error::wrap)?;
        Ok(count.min(values.len()))
    }

    /// An attribute of one value.
    pub fn get<T: AttributeValue>(&self, name: Name, mut value: T) -> Result<T> {
        match self.get_all(name, std::slice::from_mut(&mut value))? {
            1 => Ok(value),
            _ => Err(Error::Msg(format!("cuDNN: {name:?} has no value"))),
        }
    }

    /// Executes this plan with this variant pack.
    ///
    /// # Safety
    /// The pack's addresses are of memory as large as the plan's operands, on the handle's device.
    pub unsafe fn execute(&self, handle: sys::cudnnHandle_t, pack: &Self) -> Result<()> {
        // SAFETY: as the caller promises.
        check(unsafe { sys::cudnnBackendExecute(handle, self.0, pack.0) })
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: the descriptor is ours, and this is its last use. A failure cannot be handled.
        let _ = unsafe { sys::cudnnBackendDestroyDescriptor(self.0) };
    }
}

/// cuDNN's status as an error with its explanation.
pub fn check(status: sys::cudnnStatus_t) -> Result<()> {
    use sys::cudnnStatus_t as Status;
    match status {
        Status::CUDNN_STATUS_SUCCESS => Ok(()),
        Status::CUDNN_STATUS_ALLOC_FAILED
        | Status::CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED => {
            Err(Error::Msg("out of memory in cuDNN".into()))
        }
        _ => {
            let mut text = [0 as c_char; 1024];
            // SAFETY: there is space for so many characters, of which the last is written as 0.
            let reason = unsafe {
                sys::cudnnGetLastErrorString(text.as_mut_ptr(), text.len());
                CStr::from_ptr(text.as_ptr())
            };
            let reason = reason.to_string_lossy();
            Err(Error::Msg(format!(
                "cuDNN: {status:?} {}",
                reason.replace('\n', " ").trim()
            )))
        }
    }
}
