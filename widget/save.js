/** Gives the visitor a file. Loaded with what is given. */

/** Saves what is at an address. One of another origin is fetched first: by itself it would be opened. */
export async function save(address = "", name = "") {
  const own = address.startsWith("blob:");
  try {
    const url = own ? address : URL.createObjectURL(await (await fetch(address, { credentials: "omit" })).blob());
    const link = document.createElement("a");
    Object.assign(link, { href: url, download: name });
    link.click();
    if (!own) setTimeout(() => URL.revokeObjectURL(url), 60_000);
  } catch {
    open(address, "_blank", "noopener");
  }
}
