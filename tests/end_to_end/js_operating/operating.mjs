// matrix-bot-sdk, on which moderation bots stand, calls the operators' API of the running server with its own class
// for it. Prints the answers as JSON; test_operating.py judges them.

import Module, {createRequire} from "node:module"

// The library loads a native module for encryption, which is not needed here and not on every machine.
const load = Module._load
const nothing = new Proxy({}, {get: () => class {}})
Module._load = function (name, ...more) {
    return name === "@matrix-org/matrix-sdk-crypto-nodejs" ? nothing : load.call(this, name, ...more)
}
const {LogLevel, LogService, MatrixClient} = createRequire(import.meta.url)("@vector-im/matrix-bot-sdk")

const {baseUrl, token, adminId, userId, roomId, doomedId} = JSON.parse(process.argv[2])
LogService.setLevel(LogLevel.ERROR)
const admin = new MatrixClient(baseUrl, token).adminApis.synapse
const facts = {}

facts.isSelfAdmin = await admin.isSelfAdmin()
facts.isAdmin = await admin.isAdmin(userId)
facts.user = await admin.getUser(userId)
facts.changed = await admin.upsertUser(userId, {displayname: "Changed by the bot"})
facts.listed = await admin.listUsers(0, 10000)
facts.all = []
for await (const user of admin.listAllUsers({limit: 1})) facts.all.push(user.name)
facts.rooms = await admin.listRooms(undefined, undefined, 10000, "size", true)
facts.found = await admin.listRooms("Tearoom")
facts.state = (await admin.getRoomState(roomId)).map((event) => event.type)
facts.made = await admin.createRegistrationToken({token: "from-the-bot", uses_allowed: 3})
facts.updated = await admin.updateRegistrationToken("from-the-bot", {uses_allowed: 5})
facts.tokens = await admin.listRegistrationTokens()
facts.token = await admin.getRegistrationToken("from-the-bot")
facts.noToken = await admin.getRegistrationToken("never-made")
await admin.deleteRegistrationToken("from-the-bot")
facts.noTokens = await admin.listRegistrationTokens(true)
await admin.makeRoomAdmin(roomId, adminId)
facts.near = await admin.getEventNearestToTimestamp(roomId, Date.now(), "b")
facts.deletion = await admin.deleteRoom(doomedId)
do {
    await new Promise((resolve) => setTimeout(resolve, 50))
    facts.deletions = await admin.getDeleteRoomState(doomedId)
} while (facts.deletions.some((one) => ["scheduled", "active"].includes(one.status)))

// The end of the process does not wait for a pipe: only when it has taken everything may the process go.
process.stdout.write(JSON.stringify(facts) + "\n", () => process.exit(0))
