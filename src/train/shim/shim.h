// What every part of the shim shares.
//
// Every function returns 0, or 1 with the reason in pb_last_error(): no exception crosses into Rust.
// Tensors are `at::Tensor*` owned by tch; nothing here frees one.
#pragma once

#include <ATen/ATen.h>

#include <cstring>
#include <string>

namespace pinbench {

// Of this thread; defined in shim.cpp.
std::string& last_error();

template <class Body>
int guard(Body&& body) {
  try {
    body();
    return 0;
  } catch (const c10::Error& error) {
    last_error() = error.what_without_backtrace();
  } catch (const std::exception& error) {
    last_error() = error.what();
  } catch (...) {
    last_error() = "an exception that is no std::exception";
  }
  return 1;
}

// Freed by pb_free.
inline char* copy(const std::string& text) { return strdup(text.c_str()); }

inline at::Tensor& tensor(void* pointer) { return *static_cast<at::Tensor*>(pointer); }

}  // namespace pinbench
