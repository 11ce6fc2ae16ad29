// What the `ollama` package makes of a server's answers, as one JSON object.
import { Ollama } from 'ollama';

const client = new Ollama({ host: process.argv[2] });
const messages = [{ role: 'user', content: 'one two three' }];
const parameters = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
const tools = [{ type: 'function', function: { name: 'get_weather', description: 'The weather.', parameters } }];

const all = async (stream, pick) => {
  const found = [];
  for await (const item of await stream) found.push(pick(item));
  return found;
};
const failure = (promise) => promise.then(() => 'none', (error) => [error.name, error.status_code ?? null, error.message]);

const found = {};
found.text = (await client.generate({ model: 'echo', prompt: 'one two' })).response;
found.pieces = await all(client.generate({ model: 'echo', prompt: 'one two', stream: true }), (item) => item.response);
found.chat = (await client.chat({ model: 'echo', messages })).message;
found.chatPieces = await all(client.chat({ model: 'echo', messages, stream: true }), (item) => item.message.content);
found.thinking = (await client.chat({ model: 'thinks', messages, think: true })).message.thinking;
found.format = JSON.parse((await client.chat({ model: 'echo', messages, format: parameters })).message.content);

const called = (await client.chat({ model: 'echo', messages, tools })).message;
found.call = called.tool_calls[0].function;
const turn = { role: 'tool', content: 'sunny', tool_name: 'get_weather' };
found.told = (await client.chat({ model: 'echo', messages: [...messages, called, turn], tools })).message.content;

found.models = (await client.list()).models.map((model) => model.name);
found.capabilities = (await client.show({ model: 'thinks' })).capabilities;
found.embeddings = (await client.embed({ model: 'echo', input: ['one', 'two'] })).embeddings.map((each) => each.length);
found.unknown = await failure(client.generate({ model: 'nope', prompt: 'hi' }));
found.unknownStream = await failure(client.generate({ model: 'nope', prompt: 'hi', stream: true }));
found.refused = await failure(client.generate({ model: 'echo', prompt: 'hi', options: { stop: 'x' } }));
found.broken = await failure(all(client.generate({ model: 'breaks', prompt: 'hi', stream: true }), (item) => item));
console.log(JSON.stringify(found));
