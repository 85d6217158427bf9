// What a compiled emulation gives to its caller; included after the sources.
#define EXPORTED extern "C" __attribute__((visibility("default")))

static const emu::Entry entries[] = {EMULATED_KERNELS};

EXPORTED int kernel_types(const char* name, char* text, int room)
{
    for (const auto& e : entries)
        if (!std::strcmp(e.name, name)) { std::snprintf(text, room, "%s", e.types().c_str()); return 0; }
    return 1;
}

// 0, or 1 with the reason in `text`.
EXPORTED int launch(const char* name, int grid, int threads, int cluster, long shared_bytes, unsigned seed, int lag,
                      void** arguments, char* text, int room)
{
    for (const auto& e : entries) {
        if (std::strcmp(e.name, name)) continue;
        emu::lag = lag;
        emu::entry = e.call;
        emu::arguments = arguments;
        emu::prepare(grid, threads, cluster, shared_bytes, seed);
        emu::run();
        std::snprintf(text, room, "%s", emu::failure.c_str());
        return !emu::failure.empty();
    }
    std::snprintf(text, room, "there is no kernel %s", name);
    return 1;
}
