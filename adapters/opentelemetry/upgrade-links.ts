import type { SpanContext } from '@opentelemetry/api'

/** The span that those of a connection's messages link to. */
export interface UpgradeLink {
  /** The span of the upgrade, or of the route if upgrades are not traced. */
  upgrade: SpanContext | undefined
}

/** Associations, not state: each entry is lost with its request. */
const links = new WeakMap<object, UpgradeLink>()

/** Returns the link of a request, the same each time. */
export function linkOf(request: object): UpgradeLink {
  const link = links.get(request) ?? { upgrade: undefined }
  links.set(request, link)
  return link
}
