// Running averages of weights, rounded as on the CPU. Arrays are average, nothing, and weight.
extern "C" __global__ void average(const __grid_constant__ ParameterArrays all, int block_len, float kept, float taken) {
    ArrayBlock<ParameterArray> block = block_of(all, block_len);
    for (long long i = block.first + threadIdx.x; i < block.last; i += blockDim.x)
        block.array.value[i] = __fadd_rn(__fmul_rn(block.array.value[i], kept), __fmul_rn(block.array.other[i], taken));
}
