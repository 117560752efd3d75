#include <algorithm>
#include <utility>

#include "base/error.h"
#include "checkpoint/torch_files.h"
#include "checkpoint/torch_state.h"
#include "checkpoint/zip_archive.h"

namespace bertrand {
namespace {

constexpr uint64_t kMostPickle = 16 << 20;
constexpr std::string_view kPickleName = "data.pkl";

class TorchZip : public Checkpoint {
 public:
  TorchZip(MappedFile file, const std::filesystem::path& path)
      : file_(std::move(file)),
        path_(path),
        where_(path.string()),
        archive_(ZipArchive::parse(file_.bytes(), where_)) {
    const ZipArchive::Entry& pickle = find_pickle();
    folder_ = pickle.name.substr(0, pickle.name.size() - kPickleName.size());
    if (pickle.size > kMostPickle) {
      throw Error(ErrorCode::bad_input, where_ + ": its data.pkl has " +
                                            std::to_string(pickle.size) +
                                            " bytes, more than a checkpoint's can have.");
    }
    big_endian_ = read_byte_order();
    std::vector<std::byte> buffer;
    Cursor cursor(archive_.read(pickle, 0, pickle.size, /*check=*/true, buffer),
                  where_ + ": data.pkl");
    const PickledObjects objects = PickledObjects::parse(cursor, where_);
    state_ = find_state(objects, where_, [&](const std::string& key) { return storage(key).size; });
    others_ = std::move(state_.others);
    checked_.resize(archive_.entries().size());
  }

  std::string kind() const override { return "PyTorch (zip)"; }
  const std::vector<TensorInfo>& tensors() const override { return state_.infos; }
  std::vector<File> files() const override { return {{path_, file_.bytes().size()}}; }
  void release() const override { file_.release(); }

  std::span<const std::byte> read(size_t index, std::vector<std::byte>& buffer) const override {
    const TensorInfo& info = state_.infos[index];
    const TorchTensor& tensor = state_.tensors[index];
    const ZipArchive::Entry& entry = storage(tensor.storage);
    const auto place = static_cast<size_t>(&entry - archive_.entries().data());
    const bool check = !checked_[place];
    checked_[place] = true;
    const bool plain = is_contiguous(info, tensor) && (!big_endian_ || size_of(info.type) == 1);
    std::vector<std::byte> unpacked;
    const auto bytes = archive_.read(entry, tensor.begin, tensor.end - tensor.begin, check,
                                     plain ? buffer : unpacked);
    if (plain) {
      return bytes;
    }
    buffer.resize(info.bytes());
    gather(info, tensor, bytes, big_endian_, buffer);
    return buffer;
  }

 private:
  const ZipArchive::Entry& find_pickle() const {
    const ZipArchive::Entry* found = nullptr;
    for (const ZipArchive::Entry& entry : archive_.entries()) {
      const bool fits = entry.name == kPickleName || entry.name.ends_with("/data.pkl");
      if (fits && (found == nullptr || entry.name.size() < found->name.size())) found = &entry;
    }
    if (found == nullptr) {
      throw Error(ErrorCode::bad_input, where_ +
                                            ": is a ZIP file without data.pkl, so PyTorch did not "
                                            "write it; unpack it if a model is in it.");
    }
    return *found;
  }

  const ZipArchive::Entry& storage(const std::string& key) const {
    const ZipArchive::Entry* entry = archive_.find(folder_ + "data/" + key);
    if (entry == nullptr) {
      throw Error(ErrorCode::bad_input,
                  where_ + ": storage \"" + printable(key) + "\" is missing; the file is damaged.");
    }
    return *entry;
  }

  bool read_byte_order() const {
    constexpr uint64_t kMost = 16;
    const ZipArchive::Entry* entry = archive_.find(folder_ + "byteorder");
    if (entry == nullptr) {
      return false;  // written before there was a choice
    }
    std::vector<std::byte> buffer;
    const auto bytes =
        archive_.read(*entry, 0, std::min(entry->size, kMost), /*check=*/false, buffer);
    const std::string_view order(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (order != "little" && order != "big") {
      throw Error(ErrorCode::bad_input, where_ + ": its byteorder is \"" + printable(order) +
                                            "\", neither little nor big; the file is damaged.");
    }
    return order == "big";
  }

  MappedFile file_;
  std::filesystem::path path_;
  std::string where_;
  ZipArchive archive_;
  std::string folder_;
  bool big_endian_ = false;
  TorchState state_;
  mutable std::vector<bool> checked_;  // by entry: its checksum was right
};

}  // namespace

std::shared_ptr<const Checkpoint> open_torch_zip(MappedFile file,
                                                 const std::filesystem::path& path) {
  return std::make_shared<TorchZip>(std::move(file), path);
}

}  // namespace bertrand
