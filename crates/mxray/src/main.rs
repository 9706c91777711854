fn main() -> std::process::ExitCode {
    mxray_cli::main()
}
