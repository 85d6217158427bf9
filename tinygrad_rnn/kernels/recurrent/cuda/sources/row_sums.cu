// Sums and maxima over the units of a row, by all threads of a block; each of them gets the result.
//
// First the 32 threads of a warp exchange, in an order that gives every one the same bits, then the warps through
// `room`: 32 numbers of shared memory, which a barrier keeps until the reader before has gone.

DEVICE real row_sum(real own, real* room)
{
UNROLL
    for (int mask = 1; mask < 32; mask *= 2) own += swap_lanes(own, mask);
    __syncthreads();
    if (threadIdx.x % 32 == 0) room[threadIdx.x / 32] = own;
    __syncthreads();
    real total = 0;
    for (int warp = 0; warp < blockDim.x / 32; warp++) total += room[warp];
    return total;
}

DEVICE real row_max(real own, real* room)
{
UNROLL
    for (int mask = 1; mask < 32; mask *= 2) own = larger(own, swap_lanes(own, mask));
    __syncthreads();
    if (threadIdx.x % 32 == 0) room[threadIdx.x / 32] = own;
    __syncthreads();
    real top = room[0];
    for (int warp = 1; warp < blockDim.x / 32; warp++) top = larger(top, room[warp]);
    return top;
}
