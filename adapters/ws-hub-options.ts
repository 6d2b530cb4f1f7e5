import type { Hub, HubOptions, Metadata } from 'wshub'

/** Options of a new hub, or `{ hub }` for an existing one. */
export type WsHubOptions<Meta extends object = Metadata> = HubOptions<Meta> | { readonly hub: Hub<Meta> }
