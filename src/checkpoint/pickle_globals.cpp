#include "checkpoint/pickle_globals.h"

#include <array>

namespace bertrand {
namespace {

using enum PickleBuilder;

/// What is ignored is there because programs save it beside the weights, and one such value is no
/// reason to refuse these: NumPy's scalar is the best score of many a run, a Namespace its
/// settings. Types with more than a value in them, such as NumPy's arrays, stay out.
constexpr std::array kGlobals = {
    PickleGlobal{"collections", "OrderedDict", dictionary},
    PickleGlobal{"collections", "Counter", dictionary},
    PickleGlobal{"collections", "defaultdict", empty},
    PickleGlobal{"builtins", "dict", dictionary},
    PickleGlobal{"builtins", "list", list},
    PickleGlobal{"builtins", "set", list},
    PickleGlobal{"builtins", "int", ignored},
    PickleGlobal{"builtins", "long", ignored},
    PickleGlobal{"builtins", "float", ignored},
    PickleGlobal{"builtins", "bytearray", same},
    PickleGlobal{"numpy.core.multiarray", "scalar", ignored},
    PickleGlobal{"numpy", "dtype", ignored},
    PickleGlobal{"argparse", "Namespace", ignored},
    PickleGlobal{"_codecs", "encode", same},
    PickleGlobal{"torch", "Size", list},
    PickleGlobal{"torch", "device", ignored},
    PickleGlobal{"torch", "Tensor", ignored},
    PickleGlobal{"torch._utils", "_rebuild_tensor", tensor},
    PickleGlobal{"torch._utils", "_rebuild_tensor_v2", tensor},
    PickleGlobal{"torch._utils", "_rebuild_tensor_v3", tensor_of_type},
    PickleGlobal{"torch._utils", "_rebuild_device_tensor_from_cpu_tensor", same},
    PickleGlobal{"torch._tensor", "_rebuild_from_type", of_type},
    PickleGlobal{"torch._tensor", "_rebuild_from_type_v2", of_type},
    PickleGlobal{"torch._utils", "_rebuild_parameter", same},
    PickleGlobal{"torch._utils", "_rebuild_parameter_with_state", same},
    PickleGlobal{"torch.nn.parameter", "Parameter", same},
    PickleGlobal{"torch", "FloatStorage", storage, DataType::f32},
    PickleGlobal{"torch", "DoubleStorage", storage, DataType::f64},
    PickleGlobal{"torch", "HalfStorage", storage, DataType::f16},
    PickleGlobal{"torch", "BFloat16Storage", storage, DataType::bf16},
    PickleGlobal{"torch", "LongStorage", storage, DataType::i64},
    PickleGlobal{"torch", "IntStorage", storage, DataType::i32},
    PickleGlobal{"torch", "ShortStorage", storage, DataType::i16},
    PickleGlobal{"torch", "CharStorage", storage, DataType::i8},
    PickleGlobal{"torch", "ByteStorage", storage, DataType::u8},
    PickleGlobal{"torch", "BoolStorage", storage, DataType::boolean},
    PickleGlobal{"torch", "ComplexFloatStorage", storage, DataType::c64},
    PickleGlobal{"torch", "ComplexDoubleStorage", storage, DataType::c128},
    PickleGlobal{"torch", "UntypedStorage", storage},
    PickleGlobal{"torch.storage", "UntypedStorage", storage},
    PickleGlobal{"torch", "float32", data_type, DataType::f32},
    PickleGlobal{"torch", "float64", data_type, DataType::f64},
    PickleGlobal{"torch", "float16", data_type, DataType::f16},
    PickleGlobal{"torch", "bfloat16", data_type, DataType::bf16},
    PickleGlobal{"torch", "int64", data_type, DataType::i64},
    PickleGlobal{"torch", "int32", data_type, DataType::i32},
    PickleGlobal{"torch", "int16", data_type, DataType::i16},
    PickleGlobal{"torch", "int8", data_type, DataType::i8},
    PickleGlobal{"torch", "uint8", data_type, DataType::u8},
    PickleGlobal{"torch", "bool", data_type, DataType::boolean},
    PickleGlobal{"torch", "uint16", data_type, DataType::u16},
    PickleGlobal{"torch", "uint32", data_type, DataType::u32},
    PickleGlobal{"torch", "uint64", data_type, DataType::u64},
    PickleGlobal{"torch", "float8_e4m3fn", data_type, DataType::f8_e4m3},
    PickleGlobal{"torch", "float8_e5m2", data_type, DataType::f8_e5m2},
    PickleGlobal{"torch", "float8_e4m3fnuz", data_type, DataType::f8_e4m3fnuz},
    PickleGlobal{"torch", "float8_e5m2fnuz", data_type, DataType::f8_e5m2fnuz},
    PickleGlobal{"torch", "float8_e8m0fnu", data_type, DataType::f8_e8m0},
    PickleGlobal{"torch", "float4_e2m1fn_x2", data_type, DataType::f4_x2},
    PickleGlobal{"torch", "complex32", data_type, DataType::c32},
    PickleGlobal{"torch", "complex64", data_type, DataType::c64},
    PickleGlobal{"torch", "complex128", data_type, DataType::c128}};

/// The first protocols name builtins (`long` for `int`) as Python 2 did; NumPy 2 moved its insides.
std::string_view canonical(std::string_view module) {
  if (module == "__builtin__") return "builtins";
  if (module == "numpy._core.multiarray") return "numpy.core.multiarray";
  return module;
}

}  // namespace

std::optional<size_t> find_pickle_global(std::string_view module, std::string_view name) {
  module = canonical(module);
  // Storages of a device bear its name: torch.cuda.FloatStorage.
  const bool of_device = module == "torch.cuda" || module == "torch.mlu";
  for (size_t place = 0; place < kGlobals.size(); ++place) {
    const PickleGlobal& global = kGlobals[place];
    if (global.name == name &&
        (global.module == module || (of_device && global.builder == storage))) {
      return place;
    }
  }
  return std::nullopt;
}

const PickleGlobal& pickle_global(size_t place) { return kGlobals[place]; }

}  // namespace bertrand
