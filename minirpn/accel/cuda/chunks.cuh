// Work on many arrays in one launch. A table of 64-bit words says where they are; a row of it is
// about one array, and begins with the number of the first block that works on it, and with how
// many elements it has. A block works on one chunk of one array. The table is made by chunks.py.
typedef unsigned long long word;

// Which row this block works on: the last one that begins at its number or before.
__device__ inline int row_of_block(const word* table, int rows, int words) {
    int low = 0, high = rows;
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (table[(size_t)middle * words] <= blockIdx.x) low = middle;
        else high = middle;
    }
    return low;
}
