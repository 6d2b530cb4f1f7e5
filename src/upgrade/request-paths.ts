/** The most characters of a path that are kept. */
const MAX_PATH = 200

/** The paths of requests. Connections keep them, and most of a server have the same. */
export class RequestPaths {
  #latest = ''

  /** Returns the path of a URL without its query, which may contain a secret. */
  of(url: string): string {
    const end = url.search(/[?#]/)
    const path = url.slice(0, Math.min(end < 0 ? url.length : end, MAX_PATH))
    // A copy, since a substring keeps the whole string in memory.
    if (path !== this.#latest) this.#latest = Buffer.from(path).toString()
    return this.#latest
  }
}
