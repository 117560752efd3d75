#include <map>
#include <utility>

#include "base/error.h"
#include "checkpoint/torch_files.h"
#include "checkpoint/torch_gather.h"
#include "checkpoint/torch_state.h"

namespace bertrand {
namespace {

/// 0x1950a86a20f9469cfc6c, the lowest byte first.
constexpr std::string_view kMagic = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
/// The same as the first two protocols of pickles write numbers.
constexpr std::string_view kMagicLine = "L119547037146038801333356L\n.";
constexpr int64_t kProtocol = 1001;

using Id = PickledObjects::Id;

class TorchLegacy : public TorchCheckpoint {
 public:
  TorchLegacy(MappedFile file, const std::filesystem::path& path)
      : TorchCheckpoint(std::move(file), path) {
    Cursor cursor(file_.bytes(), where_);
    size_t spent = 0;  // by the objects of all five pickles
    check_version(cursor, spent);
    // The machine; storages are little-endian on every one.
    PickledObjects::parse(cursor, where_, spent);
    const PickledObjects objects = PickledObjects::parse(cursor, where_, spent);
    read_storages(cursor, objects, spent);
    const auto storage_bytes = [&](const std::string& key) {
      const auto found = storages_.find(key);
      if (found == storages_.end()) refuse("lacks storage \"" + printable(key) + "\"");
      return found->second.size();
    };
    set_state(find_state(objects, where_, storage_bytes, file_.bytes().size()));
  }

  std::string kind() const override { return "PyTorch (before 1.6)"; }
  std::string format() const override { return "pytorch-legacy"; }

  std::span<const std::byte> read(size_t index, std::vector<std::byte>& buffer) const override {
    const TensorInfo& info = state_.infos[index];
    const TorchTensor& tensor = state_.tensors[index];
    const auto bytes = spanned(tensor);
    if (is_contiguous(info, tensor)) {
      return bytes;
    }
    make_room(buffer, info.bytes(), where_ + ": tensor \"" + printable(info.name) + "\"");
    gather(info, tensor, bytes, /*big_endian=*/false, buffer);
    return buffer;
  }

  void read_parts(size_t index, const PartCall& part) const override {
    const TensorInfo& info = state_.infos[index];
    const TorchTensor& tensor = state_.tensors[index];
    if (is_contiguous(info, tensor)) {
      part(spanned(tensor));
    } else {
      gather_parts(info, tensor, spanned(tensor), /*big_endian=*/false, part);
    }
  }

 private:
  /// The bytes of the storage from the tensor's first element to its last.
  std::span<const std::byte> spanned(const TorchTensor& tensor) const {
    return storages_.at(tensor.storage)
        .subspan(static_cast<size_t>(tensor.begin), static_cast<size_t>(tensor.end - tensor.begin));
  }

  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(ErrorCode::bad_input, where_ + ": " + what + ".");
  }

  /// The magic number and the version.
  void check_version(Cursor& cursor, size_t& spent) const {
    {
      const PickledObjects magic = PickledObjects::parse(cursor, where_, spent);
      const auto* number = magic.get<PickledObjects::Text>(magic.root());
      const std::string_view line = kMagicLine.substr(1, kMagicLine.size() - 4);
      if (number == nullptr || (number->text != kMagic && number->text != line)) {
        refuse("is a pickle, but not of torch.save; save the model's state_dict() with torch.save");
      }
    }
    const PickledObjects protocol = PickledObjects::parse(cursor, where_, spent);
    const auto* version = protocol.get<int64_t>(protocol.root());
    if (version == nullptr || *version != kProtocol) {
      refuse("is of a version of torch.save that is not known");
    }
  }

  /// The keys of the storages in their order, then of each its elements and bytes. How wide an
  /// element is only the objects say.
  void read_storages(Cursor& cursor, const PickledObjects& objects, size_t& spent) {
    std::map<std::string_view, size_t> widths;
    for (const auto& object : objects.all()) {
      if (const auto* storage = std::get_if<PickledObjects::Storage>(&object)) {
        widths.emplace(storage->key, size_of(storage->type));
      }
    }
    const PickledObjects keys = PickledObjects::parse(cursor, where_, spent);
    const auto* list = keys.get<PickledObjects::List>(keys.root());
    if (list == nullptr) refuse("has no list of storages; it is damaged");
    for (const Id id : list->items) {
      const auto* key = keys.get<PickledObjects::Text>(id);
      const auto width = key == nullptr ? widths.end() : widths.find(key->text);
      if (width == widths.end()) refuse("has a storage of unknown type; it is damaged");
      const auto elements = cursor.number<uint64_t>();
      uint64_t bytes = 0;
      if (__builtin_mul_overflow(elements, width->second, &bytes)) {
        cursor.fail("has a storage with too many elements");
      }
      if (!storages_.emplace(key->text, cursor.take(bytes)).second) {
        refuse("has storage \"" + printable(key->text) + "\" twice");
      }
    }
  }

  std::map<std::string, std::span<const std::byte>> storages_;
};

}  // namespace

bool is_torch_legacy(std::span<const std::byte> file) {
  // PROTO and its number, then (from protocol 4 on after a frame of 9 bytes) LONG1 and the number.
  const std::string_view begin(reinterpret_cast<const char*>(file.data()),
                               std::min<size_t>(file.size(), 32));
  return begin.starts_with(kMagicLine) ||
         (begin.starts_with('\x80') && begin.find(kMagic) != std::string_view::npos);
}

std::shared_ptr<const Checkpoint> open_torch_legacy(MappedFile file,
                                                    const std::filesystem::path& path) {
  return std::make_shared<TorchLegacy>(std::move(file), path);
}

}  // namespace bertrand
