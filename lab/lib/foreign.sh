# Packages that conflict with what this system has installed. The lab has downloaded those that the host file names
# under `foreign` (lab/src/foreign.rs); here they are unpacked, without their scripts, into this machine alone.

# foreign_packages NAME…: what is installed already stays as it is.
foreign_packages() {
    local name file
    for name in "$@"; do
        file=$(find "$LAB/packages" -name "${name}_*.deb" 2>/dev/null | sort | tail -n 1)
        if [ -z "$file" ]; then
            dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null | grep -qx installed && continue
            echo "the host file does not name $name under foreign" >&2
            return 1
        fi
        # dpkg -x would put a directory in place of the links /lib and /bin.
        dpkg-deb --fsys-tarfile "$file" | tar -x -p --keep-directory-symlink -C /
    done
    ldconfig
}
