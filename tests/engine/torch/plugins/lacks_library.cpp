// Needs a library that is not where it looks.
extern "C" int gone_number();
extern "C" int number_of_another();
extern "C" int number_of_another() { return gone_number(); }
