/** A Nest application in its own process. It reports its port, and stops on SIGTERM by the hooks of Nest. */
import { makeNest } from './application.ts'
import { gateway } from './decorations.ts'

process.once('disconnect', () => process.exit()) // also when the test has been killed
const { app } = await makeNest({ platform: 'Express', providers: [gateway({}, class Quiet {})] })
app.enableShutdownHooks()
const server = await app.listen(0, '127.0.0.1')
process.send?.(server.address().port)
