// Where the tiles of images lie, and how workers share them.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <type_traits>

#include "winograd.h"

namespace pinbench::winograd {

// The nearest of what takes its place in cache lines: strides that are powers of two would put all planes into one set of
// a cache, so that every plane is one line longer.
constexpr int64_t kLine = 16;
constexpr int64_t padded(int64_t floats) { return (floats + kLine - 1) / kLine * kLine + kLine; }

// What stands for pixels outside of an image.
alignas(64) inline const float kZeros[kMostChannels] = {};

// `body` with the results along a side of a tile, 2 or 4, as a constant.
template <class Body>
inline auto of_tile(int tile, Body body) {
  return tile == 2 ? body(std::integral_constant<int, 2>()) : body(std::integral_constant<int, 4>());
}

// The tiles of M×M results, row by row through the images.
template <int M>
struct Grid {
  int64_t height, width, down, across, tiles;

  explicit Grid(const Shape& s)
      : height(s.height), width(s.width), down((s.height + M - 1) / M), across((s.width + M - 1) / M), tiles(s.images * down * across) {}

  struct Corner {
    int64_t image, y, x;
  };
  Corner corner(int64_t tile) const {
    const int64_t within = tile % (down * across);
    return {tile / (down * across), within / across * M, within % across * M};
  }

  // The E×E pixels of a tile from `before` the corner on, `outside` for those that are in no image.
  template <int E, int before, class P>
  void pixels(P images, int64_t channels, int64_t tile, P* pixel, P outside) const {
    const Corner at = corner(tile);
    for (int i = 0; i < E; i++) {
      const int64_t y = at.y + i - before, row = (at.image * height + y) * width;
      for (int j = 0; j < E; j++) {
        const int64_t x = at.x + j - before;
        const bool is_inside = y >= 0 && y < height && x >= 0 && x < width;
        pixel[i * E + j] = is_inside ? images + (row + x) * channels : outside;
      }
    }
  }

  // Has the M×M pixels of a tile fetched, while products of others are computed.
  void prefetch(const float* images, int64_t channels, int64_t wanted, int64_t tile) const {
    if (tile >= tiles) return;
    const Corner at = corner(tile);
    for (int64_t y = at.y; y < std::min(at.y + M, height); y++)
      for (int64_t x = at.x; x < std::min(at.x + M, width); x++) {
        const float* pixel = images + ((at.image * height + y) * width + x) * channels;
        for (int64_t c = 0; c < wanted; c += kLine) __builtin_prefetch(pixel + c, 0, 2);
      }
  }
};

// `rows` as few near-equal parts of at most `most`: calls `body(first, rows)` for each.
template <class Body>
inline void in_parts(int64_t rows, int64_t most, Body body) {
  const int64_t parts = (rows + most - 1) / most;
  for (int64_t i = 0, first = 0; i < parts; i++) {
    const int64_t taken = rows / parts + (i < rows % parts);
    body(first, taken);
    first += taken;
  }
}

// Calls `body(worker, item)` for each of `items`, by whichever worker is free: for what no order matters to.
template <class Body>
inline void shared_out(const Workers& workers, int64_t items, Body body) {
  std::atomic<int64_t> next{0};
  workers.run([&](int64_t worker) {
    for (int64_t item; (item = next.fetch_add(1, std::memory_order_relaxed)) < items;) body(worker, item);
  });
}

}  // namespace pinbench::winograd
