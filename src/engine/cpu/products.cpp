#include "engine/cpu/products.h"

#include <algorithm>
#include <compare>
#include <map>
#include <omp.h>
#include <string>
#include <tuple>
#include <unordered_map>

#include <hwy/highway.h>
#include <oneapi/dnnl/dnnl.hpp>

#include "base/error.h"

namespace bertrand::cpu {
namespace {

using dnnl::memory;

/// Debian's oneDNN shares a product out over OpenMP threads; ours is to stay on the thread it is
/// called on, because the engine shares out the work itself.
class OneThread {
 public:
  OneThread() : before_(omp_get_max_threads()) {
    if (before_ != 1) {
      omp_set_num_threads(1);
    }
  }
  ~OneThread() {
    if (before_ != 1) {
      omp_set_num_threads(before_);
    }
  }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

memory::dim dim(size_t value) { return static_cast<memory::dim>(value); }

memory::dims strides(bool transposed, size_t stride) {
  return transposed ? memory::dims{1, dim(stride)} : memory::dims{dim(stride), 1};
}

/// What a product is, for this library: since version 3 without a description of its own.
dnnl::matmul::primitive_desc describe(const dnnl::engine& engine, const memory::desc& a,
                                      const memory::desc& b, const memory::desc& c,
                                      const dnnl::primitive_attr& attributes = {}) {
#if DNNL_VERSION_MAJOR >= 3
  return {engine, a, b, c, attributes};
#else
  return {dnnl::matmul::desc(a, b, c), attributes, engine};
#endif
}

/// True where the library uses all that `isa` stands for; each instruction set is a bit.
bool library_uses(dnnl::cpu_isa isa) {
  const auto wanted = static_cast<unsigned>(isa);
  return (static_cast<unsigned>(dnnl::get_effective_cpu_isa()) & wanted) == wanted;
}

/// What a bf16 product is made for; oneDNN fixes all of it when a primitive is created.
struct Bf16Key {
  ProductShape shape;
  size_t a_stride, b_stride, c_stride;

  auto tuple() const {
    return std::tuple(shape.m, shape.n, shape.k, shape.transpose_a, shape.transpose_b,
                      shape.accumulate, a_stride, b_stride, c_stride);
  }
  bool operator<(const Bf16Key& other) const { return tuple() < other.tuple(); }
};

struct Bf16Product {
  dnnl::matmul primitive;
  memory a, b, c;
};

/// Primitives are kept by each thread: creating one costs 0.1 to 1 ms, and lengths differ from
/// batch to batch, so the store is emptied before it grows without bound.
class Bf16Products {
 public:
  Bf16Product& find(const Bf16Key& key) {
    const auto found = products_.find(key);
    if (found != products_.end()) {
      return found->second;
    }
    constexpr size_t kMost = 1024;
    if (products_.size() >= kMost) {
      products_.clear();
    }
    return products_.emplace(key, create(key)).first->second;
  }

  dnnl::stream& stream() { return stream_; }

 private:
  Bf16Product create(const Bf16Key& key) {
    const auto& shape = key.shape;
    const auto bf16 = memory::data_type::bf16;
    const memory::desc a({dim(shape.m), dim(shape.k)}, bf16,
                         strides(shape.transpose_a, key.a_stride));
    const memory::desc b({dim(shape.k), dim(shape.n)}, bf16,
                         strides(shape.transpose_b, key.b_stride));
    const memory::desc c({dim(shape.m), dim(shape.n)}, memory::data_type::f32,
                         strides(/*transposed=*/false, key.c_stride));
    dnnl::primitive_attr attributes;
    if (shape.accumulate) {
      dnnl::post_ops sum;
      sum.append_sum(/*scale=*/1.0F);
      attributes.set_post_ops(sum);
    }
    return {dnnl::matmul(describe(engine_, a, b, c, attributes)),
            memory(a, engine_, DNNL_MEMORY_NONE), memory(b, engine_, DNNL_MEMORY_NONE),
            memory(c, engine_, DNNL_MEMORY_NONE)};
  }

  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream_{engine_};
  std::map<Bf16Key, Bf16Product> products_;
};

}  // namespace

void multiply(const ProductShape& shape, MatrixBf16 a, MatrixBf16 b, float* c, size_t c_stride) {
  const OneThread one_thread;
  thread_local Bf16Products products;
  try {
    Bf16Product& product = products.find({shape, a.stride, b.stride, c_stride});
    product.a.set_data_handle(const_cast<uint16_t*>(a.data));
    product.b.set_data_handle(const_cast<uint16_t*>(b.data));
    product.c.set_data_handle(c);
    product.primitive.execute(
        products.stream(),
        {{DNNL_ARG_SRC, product.a}, {DNNL_ARG_WEIGHTS, product.b}, {DNNL_ARG_DST, product.c}});
    products.stream().wait();
  } catch (const dnnl::error& error) {
    throw Error(ErrorCode::runtime,
                std::string("oneDNN refused a bf16 matrix product (") + error.what() + ").");
  }
}

std::function<void()> packed_product(const ProductShape& shape) {
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  dnnl::stream stream(engine);
  const auto f32 = memory::data_type::f32;
  const auto plain = memory::format_tag::ab;
  const OneThread one_thread;  // what is described for one thread is packed for it
  const dnnl::matmul::primitive_desc description =
      describe(engine, memory::desc({dim(shape.m), dim(shape.k)}, f32, plain),
               memory::desc({dim(shape.k), dim(shape.n)}, f32, memory::format_tag::any),
               memory::desc({dim(shape.m), dim(shape.n)}, f32, plain));
  std::unordered_map<int, memory> operands;
  for (const auto& [role, layout] : {std::pair{DNNL_ARG_SRC, description.src_desc()},
                                     std::pair{DNNL_ARG_WEIGHTS, description.weights_desc()},
                                     std::pair{DNNL_ARG_DST, description.dst_desc()}}) {
    const memory operand(layout, engine);
    std::fill_n(static_cast<float*>(operand.get_data_handle()), layout.get_size() / sizeof(float),
                0.5F);
    operands.emplace(role, operand);
  }
  // The others hold the engine by a pointer.
  return [engine, product = dnnl::matmul(description), stream, operands]() mutable {
    const OneThread on_one_thread;
    product.execute(stream, operands);
    stream.wait();
  };
}

std::map<std::string, std::string> library_versions() {
  const auto text = [](int major, int minor, int patch) {
    return std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(patch);
  };
  const dnnl_version_t& onednn = *dnnl::version();
  return {{"oneDNN", text(onednn.major, onednn.minor, onednn.patch)},
          {"Highway", text(HWY_MAJOR, HWY_MINOR, HWY_PATCH)}};
}

bool library_has_bf16() { return library_uses(dnnl::cpu_isa::avx512_core_bf16); }

bool library_has_tiles() { return library_uses(dnnl::cpu_isa::avx512_core_amx); }

}  // namespace bertrand::cpu
