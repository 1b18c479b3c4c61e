// @ts-check
/**
 * What the words on the command line leave of a list: all of it where they name nothing of it.
 * @template {string} T @param {readonly string[]} words @param {readonly T[]} all @returns {readonly T[]}
 */
export function chosen(words, all) {
  const named = all.filter((one) => words.includes(one))
  return named.length === 0 ? all : named
}
