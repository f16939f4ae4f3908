// The transforms of Winograd's F(4x4, 3x3). Read beside numba/tiles.py: the names, the formulas and
// their order are the same, and a thread is a turn of the loops there.
// Planes of points: (36, rows, columns), the point changing slowest.
#include "common.cuh"

// Bt d of six pixels in a row, in place.
__device__ inline void pixel_points(real& d0, real& d1, real& d2, real& d3, real& d4, real& d5) {
    real even1 = d4 - 4 * d2, odd1 = d3 - 4 * d1;
    real even2 = d4 - d2, odd2 = 2 * (d3 - d1);
    real zero = 4 * d0 - 5 * d2 + d4, infinity = 4 * d1 - 5 * d3 + d5;
    d0 = zero;
    d1 = even1 + odd1;
    d2 = even1 - odd1;
    d3 = even2 + odd2;
    d4 = even2 - odd2;
    d5 = infinity;
}

// G w of three weights: six numbers at `u`, `step` apart.
__device__ inline void weight_points(real w0, real w1, real w2, real* u, int step) {
    real even1 = -(w0 + w2) / 6, odd1 = -w1 / 6;
    real even2 = w0 / 24 + w2 / 6, odd2 = w1 / 12;
    u[0] = w0 / 4;
    u[step] = even1 + odd1;
    u[2 * step] = even1 - odd1;
    u[3 * step] = even2 + odd2;
    u[4 * step] = even2 - odd2;
    u[5 * step] = w2;
}

// At m of six products: four numbers at `y`, `step` apart.
__device__ inline void points_output(
    real m0, real m1, real m2, real m3, real m4, real m5, real* y, int step
) {
    real even1 = m1 + m2, odd1 = m1 - m2, even2 = m3 + m4, odd2 = m3 - m4;
    y[0] = m0 + even1 + even2;
    y[step] = odd1 + 2 * odd2;
    y[2 * step] = even1 + 4 * even2;
    y[3 * step] = odd1 + 8 * odd2 + m5;
}

// U (36, rows, columns) of weight (O,C,3,3): rows are outputs and columns channels; or, turned,
// rows are channels and columns outputs, each kernel turned by half a turn. Threads: places of a
// plane across.
extern "C" __global__ void winograd_weight(
    const real* weight, real* U, int rows, int columns, int turned
) {
    int place = thread_number();
    if (place >= rows * columns) return;
    int o = turned ? place % columns : place / columns;
    int c = turned ? place / columns : place % columns;
    const real* own = weight + 9 * ((size_t)o * (turned ? rows : columns) + c);
    real w[9], tall[18], u[36];
    for (int tap = 0; tap < 9; tap++) w[tap] = own[turned ? 8 - tap : tap];
    for (int q = 0; q < 3; q++) weight_points(w[q], w[3 + q], w[6 + q], tall + q, 3);
    for (int k = 0; k < 6; k++)
        weight_points(tall[3 * k], tall[3 * k + 1], tall[3 * k + 2], u + 6 * k, 1);
    for (int point = 0; point < 36; point++) U[(size_t)point * rows * columns + place] = u[point];
}

// V (36, C, N tiles) of x (N,C,H,W): `rows` rows of `columns` tiles, from row `first` on, are the
// tiles of an image. Threads: tiles of an image across, its channels and all images (N C) down.
extern "C" __global__ void winograd_pixels(
    const real* x, real* V, int N, int C, int H, int W, int first, int rows, int columns,
    int padding_h, int padding_w
) {
    int tile = thread_number();
    if (tile >= rows * columns) return;
    int top = 4 * (first + tile / columns) - padding_h, left = 4 * (tile % columns) - padding_w;
    size_t plane_size = (size_t)C * N * rows * columns;
    for (int map = blockIdx.y; map < N * C; map += gridDim.y) {
        const real* image = x + (size_t)map * H * W;
        real d[36];
        for (int k = 0; k < 6; k++)
            for (int s = 0; s < 6; s++) {
                int row = top + k, column = left + s;
                bool inside = row >= 0 && row < H && column >= 0 && column < W;
                d[6 * k + s] = inside ? image[(size_t)row * W + column] : 0;
            }
        for (int s = 0; s < 6; s++)
            pixel_points(d[s], d[6 + s], d[12 + s], d[18 + s], d[24 + s], d[30 + s]);
        for (int k = 0; k < 6; k++) {
            real* row = d + 6 * k;
            pixel_points(row[0], row[1], row[2], row[3], row[4], row[5]);
        }
        int n = map / C, c = map % C;
        size_t place = ((size_t)c * N + n) * rows * columns + tile;
        for (int point = 0; point < 36; point++) V[point * plane_size + place] = d[point];
    }
}

// The rows of y (N,O,Ho,Wo) that these tiles cover, of M (36, O, N tiles): with bias, and with 0 in
// place of negative numbers if `relu`. Threads: as above, with outputs for channels.
extern "C" __global__ void winograd_products(
    const real* M, const real* bias, real* y, int N, int O, int Ho, int Wo, int first, int rows,
    int columns, int relu
) {
    int tile = thread_number();
    if (tile >= rows * columns) return;
    int top = 4 * (first + tile / columns), left = 4 * (tile % columns);
    size_t plane_size = (size_t)O * N * rows * columns;
    for (int map = blockIdx.y; map < N * O; map += gridDim.y) {
        int n = map / O, o = map % O;
        size_t place = ((size_t)o * N + n) * rows * columns + tile;
        real m[36], tall[24], out[16];
        for (int point = 0; point < 36; point++) m[point] = M[point * plane_size + place];
        for (int k = 0; k < 6; k++)
            points_output(
                m[k], m[6 + k], m[12 + k], m[18 + k], m[24 + k], m[30 + k], tall + k, 6
            );
        for (int a = 0; a < 4; a++) {
            const real* row = tall + 6 * a;
            points_output(row[0], row[1], row[2], row[3], row[4], row[5], out + 4 * a, 1);
        }
        real* image = y + (size_t)map * Ho * Wo;
        for (int a = 0; a < 4; a++)
            for (int b = 0; b < 4; b++) {
                if (top + a >= Ho || left + b >= Wo) continue;
                real value = out[4 * a + b] + bias[o];
                image[(size_t)(top + a) * Wo + left + b] = relu && value < 0 ? 0 : value;
            }
    }
}
