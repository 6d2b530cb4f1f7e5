export type FeedName = 'trades' | 'chat' | 'positions'
export function feedText(feed: FeedName, number: number): string
